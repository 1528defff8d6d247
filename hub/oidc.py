"""Sign in by somebody else's recognition: one OpenID Connect provider, authorization code with PKCE (RFC 7636).

Rule 1. The provider says who somebody is; whether and what they may here, an account of that name says. None is made by itself.
Rule 2. State, nonce and verifier are the browser's own, in a cookie; an answer that does not fit them is refused.
Rule 3. An ID token is believed by the provider's published keys, for this client, this nonce and this hour alone.
The one room that imports Authlib (extra `oidc`), and only when a provider is declared.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from hub.errors import ConfigError, KeyRefused, Unreachable

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
_TIMEOUT = 10
_LEEWAY = 60


class Told(NamedTuple):
    """A provider as hub.yaml declares it; `claim` names the claim that holds an account's name."""

    issuer: str
    client_id: str
    client_secret: str
    claim: str
    label: Mapping[str, str]


class Provider:
    """Asks one provider; `back` is the address it sends people back to."""

    def __init__(self, told: Told, back: str) -> None:
        try:
            from authlib.integrations.requests_client import OAuth2Session
        except ImportError as error:
            raise ConfigError(["hub.yaml: oidc: Authlib is missing; pip install 'crossregion-sync-hub[oidc]'"]) from error
        self.told, self._back, self._session = told, back, OAuth2Session
        self._found: dict[str, Any] | None = None

    def begin(self) -> tuple[str, str]:
        """The address to send somebody to, and what their browser keeps until they come back."""
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        with self._client() as client:
            url, _ = client.create_authorization_url(
                self._endpoint("authorization_endpoint"), state=kept["state"], code_verifier=kept["verifier"],
                nonce=kept["nonce"],
            )  # fmt: skip
        return str(url), json.dumps(kept)

    def finish(self, answer: str, kept: str) -> str:
        """The account's name that the provider vouches for; KeyRefused where anything does not fit.

        `answer` is the query they came back with, `kept` what their browser kept.
        """
        from authlib.common.errors import AuthlibBaseError

        try:
            begun = json.loads(kept)
            with self._client(begun["state"]) as client:
                token = client.fetch_token(
                    self._endpoint("token_endpoint"), authorization_response=f"{self._back}?{answer}",
                    code_verifier=begun["verifier"], timeout=_TIMEOUT,
                )  # fmt: skip
            claims = self._believed(str(token["id_token"]), begun["nonce"])
        except OSError as error:  # What the session raises where the network fails.
            raise Unreachable("the identity provider does not answer", where=self.told.issuer, mend="try again") from error
        except (AuthlibBaseError, KeyError, TypeError, ValueError) as error:
            raise KeyRefused("the identity provider's answer does not hold", where=self.told.issuer,
                             mend="sign in anew") from error  # fmt: skip
        name = claims.get(self.told.claim)
        if not isinstance(name, str) or not name:
            raise KeyRefused(f"the identity provider gives no {self.told.claim}", where=self.told.issuer,
                             mend="name another `claim:` in hub.yaml")  # fmt: skip
        return name

    def _client(self, state: str | None = None) -> Any:
        return self._session(
            self.told.client_id, self.told.client_secret, scope="openid profile", redirect_uri=self._back,
            code_challenge_method="S256", state=state,
        )  # fmt: skip

    def _endpoint(self, name: str) -> str:
        if self._found is None:
            found = self._fetch(self.told.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.told.issuer:
                raise KeyRefused("the identity provider is another than declared", where=self.told.issuer,
                                 mend="give `issuer:` in hub.yaml exactly as the provider spells it")  # fmt: skip
            self._found = found
        try:
            return str(self._found[name])
        except KeyError:
            raise Unreachable(f"the identity provider names no {name}", where=self.told.issuer) from None

    def _fetch(self, url: str) -> dict[str, Any]:
        try:
            with self._client() as client:
                reply = client.get(url, timeout=_TIMEOUT, withhold_token=True, allow_redirects=False)
                reply.raise_for_status()
                found: dict[str, Any] = reply.json()
                return found
        except (OSError, ValueError) as error:
            raise Unreachable("the identity provider does not answer", where=self.told.issuer, mend="try again") from error

    def _believed(self, token: str, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token that holds (OpenID Connect Core 3.1.3.7)."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            # Fetched anew each time: a provider may change its keys on any day.
            keys = KeySet.import_key_set(self._fetch(self._endpoint("jwks_uri")))  # type: ignore[arg-type]
            claims = jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY,
                iss={"essential": True, "value": self.told.issuer},
                aud={"essential": True, "value": self.told.client_id},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except JoseError as error:
            raise ValueError("not a token to believe") from error
        # Where a token is for several, only its authorised party may use it.
        if claims.get("azp", self.told.client_id) != self.told.client_id:
            raise ValueError("another client's token")
        return dict(claims)
