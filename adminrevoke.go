package truelayer

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// revokers bounds the sessions that one call revokes at once.
const revokers = 8

// revokedSessions is the answer to a revocation.
type revokedSessions struct {
	Revoked int64 `json:"revoked"`
	Failed  int64 `json:"failed"`
}

// revocation is a call that ends sessions. Its result is the answer.
type revocation struct {
	revoked, failed atomic.Int64
}

func (v *revocation) answer(w http.ResponseWriter) error {
	return answerAdmin(w, revokedSessions{v.revoked.Load(), v.failed.Load()})
}

// serveRevokeOne ends the session with an id.
func serveRevokeOne(w http.ResponseWriter, r *http.Request) error {
	text := r.PathValue("id")
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != 32 {
		return badRequest(errors.New("the id of a session has 64 hex digits, as the list shows them"))
	}
	blocks, err := latestBlocks("")
	if err != nil {
		return err
	}
	var v revocation
	ctx := withAdminCause(r)
	for _, h := range blocks {
		v.end(ctx, h, string(id), session.Filter{})
	}
	audit(ctx, blocks, `{"id":"`+text[:16]+`"}`, &v)
	if v.revoked.Load() == 0 && v.failed.Load() == 0 {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("there is no such session of a site that this Caddy serves; it may have ended already")}
	}
	return v.answer(w)
}

// serveRevoke ends the sessions that a filter selects.
func serveRevoke(w http.ResponseWriter, r *http.Request) error {
	var f sessionFilter
	if err := readAdminBody(w, r, &f); err != nil {
		return err
	}
	if f == (sessionFilter{}) {
		return badRequest(errors.New(`name a site, a provider, a client_id or a connection, or send {"all":true}`))
	}
	if f.All && f != (sessionFilter{All: true}) {
		return badRequest(errors.New("all is sent alone: leave it out to revoke the sessions that the other fields select"))
	}
	var v revocation
	ctx := withAdminCause(r)
	err := eachPage(ctx, f, listCursor{}, defaultListed, func(h *Handler, page []session.Listed, _ string) bool {
		var group errgroup.Group
		group.SetLimit(revokers)
		for _, l := range page {
			group.Go(func() error {
				v.end(ctx, h, l.ID, f.ofSite())
				return nil
			})
		}
		_ = group.Wait()
		return ctx.Err() == nil
	})
	blocks, _ := latestBlocks("")
	filter, _ := json.Marshal(f) // strings and a flag
	audit(ctx, blocks, string(filter), &v)
	if failed, ok := errors.AsType[caddy.APIError](err); ok && v.revoked.Load() > 0 {
		failed.Err = fmt.Errorf("%w; %d sessions were revoked before", failed.Err, v.revoked.Load())
		return failed
	}
	if err != nil {
		return err
	}
	return v.answer(w)
}

// end ends a session, if the block has it.
func (v *revocation) end(ctx context.Context, h *Handler, id string, f session.Filter) {
	var l session.Listed
	revoked := false
	err := flight.Safely(func() (err error) {
		l, revoked, err = h.sessions.Revoke(ctx, id, f)
		return err
	})
	switch {
	case err != nil:
		v.failed.Add(1)
		h.logger.Error("revoking a session failed: check the store, and revoke again", zap.Error(err))
	case revoked:
		v.revoked.Add(1)
		h.site.observer.sessionRevoked(ctx, &l)
	}
}

// withAdminCause returns a request's context with the address of the operator.
func withAdminCause(r *http.Request) context.Context {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr // a Unix socket
	}
	return context.WithValue(r.Context(), causeKey{}, cause{clientIP: address})
}

// audit writes the line of a call to the audit trail.
func audit(ctx context.Context, blocks []*Handler, filter string, v *revocation) {
	if len(blocks) == 0 {
		return
	}
	trail := *blocks[0].site.observer.audit
	trail.site = "" // it may concern all
	trail.write(ctx, auditLine{
		event: auditRevocation,
		extra: [][2]string{{"filter", filter}, {"count", strconv.FormatInt(v.revoked.Load(), 10)}},
	})
}
