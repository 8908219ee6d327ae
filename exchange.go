package truelayer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// firstPause is how long an exchange waits after a 429 without a Retry-After
// before it is tried again. It doubles with each further one.
const firstPause = time.Second

// loginResult is the result of a successful exchange.
type loginResult struct {
	secret *cookieSecret
	ends   time.Time
	given  atomic.Bool // to a browser, which may have signed out since
}

// exchange takes the login's code to the token endpoint and begins a session.
// Claiming the login first makes sure that no other node or process sends the
// code as well, and that there is room for a session before the code is spent.
func (h *Handler) exchange(ctx context.Context, l *login, code string, network netip.Prefix) (*loginResult, error) {
	if err := h.awaitPause(ctx); err != nil {
		return nil, err
	}
	c, err := h.claim(ctx, l)
	if err != nil {
		return nil, err
	}
	token, err := h.sendCode(ctx, l, code)
	if err != nil {
		h.settle(ctx, c, err, network)
		return nil, exchangeFailure(err)
	}
	session, err := h.accept(ctx, c, token)
	if err != nil {
		h.forget(ctx, c.session)
		return nil, err
	}
	return session, nil
}

// sendCode sends the code to the token endpoint, again only after an answer that
// asks for fewer requests: nothing was done about the one that it answers (RFC
// 6585 section 4).
func (h *Handler) sendCode(ctx context.Context, l *login, code string) (authserver.Token, error) {
	for pause := firstPause; ; pause *= 2 {
		token, err := h.client.Exchange(ctx, code, l.redirectURI, l.verifier)
		answer, ok := errors.AsType[*authserver.Error](err)
		if !ok || answer.Status != http.StatusTooManyRequests {
			return token, err
		}
		for _, key := range []string{loginPauseKey(h.client.ID), pauseKey(h.client.ID)} {
			h.auth.pause(key, h.now(), max(answer.RetryAfter, pause))
		}
		if err := h.awaitPause(ctx); err != nil {
			return token, err
		}
	}
}

// awaitPause waits while the auth server wants this client to send nothing. If
// that is longer than ctx lasts it returns a failure at once, whose page comes
// again with the code by itself.
func (h *Handler) awaitPause(ctx context.Context) error {
	for {
		left := h.auth.paused(loginPauseKey(h.client.ID), h.now())
		if left <= 0 {
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= left || !wait(ctx, left) {
			return failure{reason: tooManyLogins, cause: errPaused, retryAfter: left}
		}
	}
}

var errPaused = errors.New("the auth server wants fewer requests of this client")

// accept checks a token and puts its session in the place that was reserved.
func (h *Handler) accept(ctx context.Context, c *claim, token authserver.Token) (*loginResult, error) {
	if err := h.checkScopes(token.Scopes); err != nil {
		return nil, failure{reason: scopeRefused, cause: err}
	}
	if h.verifier != nil {
		err := h.verifier.Verify(ctx, token.Access)
		if errors.Is(err, authserver.ErrKeysUnavailable) {
			return nil, failure{reason: tokenUnverified, cause: err}
		}
		if err != nil {
			return nil, failure{reason: tokenRefused, cause: err}
		}
	}
	session, err := h.begin(ctx, c, token)
	if err != nil {
		return nil, storeFailure(err)
	}
	return session, nil
}

// checkScopes compares the granted scopes with the ones asked for. Banks
// differ in what they can grant, so a part is accepted and shown to the
// application in a placeholder; none at all is no connection. offline_access
// is not data.
func (h *Handler) checkScopes(granted []string) error {
	if granted == nil || slices.Equal(granted, h.Scopes) {
		return nil
	}
	h.logger.Info("the granted scopes differ from the ones asked for",
		zap.Strings("granted", granted), zap.Strings("asked", h.Scopes))
	for _, scope := range h.Scopes {
		if scope != "offline_access" && slices.Contains(granted, scope) {
			return nil
		}
	}
	return errors.New("none of the scopes asked for was granted; check which scopes TrueLayer has enabled for the client id")
}

func storeFailure(err error) failure {
	if errors.Is(err, ErrFull) {
		return failure{reason: sessionsFull, cause: err}
	}
	return failure{reason: storeUnavailable, cause: err}
}

// exchangeFailure tells what the visitor can mend from what the operator has
// to, by the parsed error code (RFC 6749 section 5.2 and TrueLayer's own), and
// both from an endpoint that gave no answer to the request.
func exchangeFailure(err error) failure {
	if f, ok := errors.AsType[failure](err); ok {
		return f
	}
	answer, ok := errors.AsType[*authserver.Error](err)
	if !ok || answer.Code == "" || answer.Status/100 != 4 {
		return failure{reason: authServerUnavailable, cause: err}
	}
	switch answer.Code {
	case "invalid_client", "unauthorized_client":
		return failure{reason: clientRefused, cause: fmt.Errorf("%w; check client_id, client_secret and environment", err)}
	case "unauthorized":
		return failure{reason: clientRefused, cause: fmt.Errorf("%w; check client_id, client_secret and environment; TrueLayer also answers so to too many requests", err)}
	case "invalid_scope":
		return failure{reason: scopeRefused, cause: fmt.Errorf("%w; check which scopes TrueLayer has enabled for the client id", err)}
	}
	return failure{reason: codeRefused, cause: err}
}
