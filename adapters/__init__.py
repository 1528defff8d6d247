"""How each jurisdiction's own system is read: declarations, transports and gateway signatures; never imports `hub`."""
