"""How each jurisdiction's own system is read: declarations, transports, gateways; never imports `hub`."""
