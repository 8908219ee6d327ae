package truelayer

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

// renewal takes visitors to their bank to renew the connection that they have. Their session
// goes on until the new one is there.
type renewal struct {
	*failureResponder
	sessions *session.Manager
	login    *loginFlow
	consent  *consentPage // nil without consent
	links    *renewalLinks
}

// serve serves <redirect path>/renew. Only a POST from the site itself begins anything.
func (r *renewal) serve(w http.ResponseWriter, q *request) error {
	noStore(w)
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		r.seeOther(w, q, r.addresses.connection)
		return nil
	case http.MethodPost:
	default:
		return r.notAllowed(w, q, "GET, HEAD, POST")
	}
	if err := r.origins.check(q.Request); err != nil {
		return r.fail(w, q, foreignRequest(q, err))
	}
	form, _ := takeForm(w, q)
	returnTo := r.addresses.cameFrom(q, r.addresses.connection)
	s, err := r.sessions.Find(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	switch {
	case err != nil && !session.IsRevoked(err):
		return r.failBack(w, q, returnTo, err)
	case s == nil, showsAnother(form, s):
		r.seeOther(w, q, r.addresses.connection) // which says what there is
		return nil
	case s.IsOver(q.now):
		return r.login.startAgain(w, q, returnTo, s)
	}
	return r.begin(w, q, returnTo, s)
}

func (r *renewal) failBack(w http.ResponseWriter, q *request, returnTo string, err error) error {
	failed := failureOf(err)
	failed.returnTo = returnTo
	return r.fail(w, q, failed)
}

// begin begins a login by a link that renews the connection. If TrueLayer gives none, the
// login goes by TrueLayer's dialog, which asks TrueLayer for nothing before: no visitor is
// stopped by a busy or a broken TrueLayer.
func (r *renewal) begin(w http.ResponseWriter, q *request, returnTo string, s *session.Session) error {
	l := r.login.newLogin(q.now, returnTo, s.Provider, strings.Fields(s.Scopes))
	l.renews = s.ID()
	link, err := r.links.get(q.withCause(), clientNetwork(q.Request), s, *l)
	if q.isGone() {
		return nil // the browser has gone, or sends the form again
	}
	if failed, ok := errors.AsType[*session.Error](err); ok && failed.Kind == session.StoreFailed {
		return r.failBack(w, q, returnTo, failed)
	}
	switch {
	case session.IsRevoked(err), err == nil && link.url == "": // gone meanwhile
		r.seeOther(w, q, r.addresses.connection)
		return nil
	case err != nil:
		r.note(q, err)
		return r.startOver(w, q, returnTo, s)
	}
	r.login.begin(w, q, &link.login)
	r.seeOther(w, q, link.url)
	return nil
}

// note logs why there is no link. TrueLayer may not have been asked for one, since there are
// bounds for that. That a session has no refresh token is no failure.
func (r *renewal) note(q *request, err error) {
	if errors.Is(err, session.ErrNoRefreshToken) {
		return
	}
	r.logger.Warn("no link that renews a connection could be had; the visitor connects again", zap.Error(err), zap.String("request_id", q.id()))
}

// startOver begins a login at the same bank that replaces the session, as if the visitor
// connected for the first time.
func (r *renewal) startOver(w http.ResponseWriter, q *request, returnTo string, s *session.Session) error {
	scopes := slices.Clone(r.login.link.Scopes)
	for scope := range strings.FieldsSeq(s.Scopes) {
		if !slices.Contains(scopes, scope) { // by a truelayer_require
			scopes = append(scopes, scope)
		}
	}
	// the text of the site's own page is for the block's scopes
	if r.consent != nil && s.Provider != "" && len(scopes) == len(r.login.link.Scopes) {
		if _, ok := r.login.banks.find(q.Context(), s.Provider); ok {
			r.seeOther(w, q, r.consent.renewalURL(s, returnTo))
			return nil
		}
	}
	l := r.login.newLogin(q.now, returnTo, s.Provider, scopes)
	l.renews = s.ID()
	return r.login.follow(w, q, l)
}

// renewalLinks asks TrueLayer for links that renew a connection. They count as links to
// banks, for which there are bounds.
type renewalLinks struct {
	choice   *bankChoice
	sessions *session.Manager
	observer *siteObserver
	now      func() time.Time
}

// get asks for a link, whose url is "" if the session is gone. Repetitions share one.
func (r *renewalLinks) get(ctx context.Context, network netip.Prefix, s *session.Session, l login) (bankLink, error) {
	result, err := r.choice.links.Do(ctx, "renewal of "+s.ID(), network, func(ctx context.Context) (any, error) {
		link, err := r.sessions.RenewalLink(ctx, s, func(ctx context.Context, refresh authserver.Secret) (string, error) {
			return r.request(ctx, refresh, &l)
		})
		notePause(r.choice.links, network, err)
		return bankLink{link, l}, err
	})
	if err != nil {
		return bankLink{}, err
	}
	return result.(bankLink), nil
}

func (r *renewalLinks) request(ctx context.Context, refresh authserver.Secret, l *login) (string, error) {
	done := r.observer.renewalLinkRequest(ctx)
	link, err := tlapi.RequestRenewalLink(ctx, r.sessions.Client.Server, &tlapi.RenewalLinkRequest{
		Refresh: refresh, RedirectURI: l.redirectURI, State: l.state, Verifier: l.verifier,
	}, r.now)
	answer, _ := errors.AsType[*authserver.Error](err)
	done(answer)
	return link, err
}
