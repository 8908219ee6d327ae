package truelayer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
)

// loginFlow takes visitors to their bank and back.
type loginFlow struct {
	*failureResponder
	sessions  *session.Manager
	cookies   *cookieNames
	logins    *loginCookies
	link      authserver.AuthorizationRequest // the part that all logins share
	callbacks callbackWatch
	proxy     proxyWatch
	banks     *bankChoice
	server    *caddyhttp.Server // whose rules a link may name; nil outside of a server
	picks     bool              // visitors choose their bank on the site's own page
	consents  bool              // and consent there
	asksName  bool              // and say their name there
	remembers bool              // the browser remembers the bank
	// disconnectsReplaced says that a replaced connection is ended at TrueLayer, too.
	disconnectsReplaced bool

	pkce   bool
	issuer string
	logger *zap.Logger
	now    func() time.Time
}

// randomText returns 32 random bytes in base64url, which is what RFC 7636
// section 4.1 recommends for a code verifier.
func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// requireLogin answers a protected request without a session. Only a person who opens
// a page is sent to the bank.
func (f *loginFlow) requireLogin(w http.ResponseWriter, q *request) error {
	returnTo := f.addresses.returnTarget(q.target())
	who := q.whoAsks()
	if q.sendsForm() {
		return f.failForm(w, q, loginRequired)
	}
	if who != navigation {
		return f.refuse(w, q, returnTo)
	}
	f.callbacks.noteReturn(f.logins, q)
	if f.logins.expectsSession(q.cookies) {
		lost := failure{reason: sessionLost, returnTo: returnTo}
		if len(q.ownCookies.sessionSecrets()) > 0 {
			lost.reason, lost.cause = sessionUnknown, errSessionUnknown
		}
		return f.fail(w, q, lost)
	}
	if f.addresses.isOtherHost(q.Host) {
		return f.moveToLoginHost(w, q, returnTo, nil)
	}
	f.prepare(w, q.Request)
	return f.choose(w, q, returnTo)
}

// choose takes a visitor to where the bank is chosen: the site's own page, or TrueLayer's
// dialog.
func (f *loginFlow) choose(w http.ResponseWriter, q *request, returnTo string) error {
	switch {
	case f.link.ProviderID != "":
		return f.startAt(w, q, returnTo, f.link.ProviderID)
	case f.picks:
		f.seeOther(w, q, f.addresses.banksURL(returnTo, "", ""))
		return nil
	}
	return f.start(w, q, returnTo, "")
}

var errSessionUnknown = errors.New("the browser sent the cookie of a session that the store does not have: check that all instances of this site share one store, and that the store does not drop records")

// start begins a login and redirects the visitor to an auth link. If provider is not "",
// the link leads straight to that bank.
func (f *loginFlow) start(w http.ResponseWriter, q *request, returnTo, provider string) error {
	return f.startFor(w, q, returnTo, provider, f.link.Scopes)
}

// startFor begins a login for scopes.
func (f *loginFlow) startFor(w http.ResponseWriter, q *request, returnTo, provider string, scopes []string) error {
	return f.follow(w, q, f.newLogin(q.now, returnTo, provider, scopes))
}

// follow begins a login and redirects the visitor to its auth link.
func (f *loginFlow) follow(w http.ResponseWriter, q *request, l *login) error {
	f.begin(w, q, l)
	link := f.link
	link.Scopes = strings.Fields(l.scopes)
	link.State = l.state
	link.ProviderID = l.provider
	link.Verifier = l.verifier
	f.seeOther(w, q, f.sessions.Client.AuthLink(link))
	return nil
}

// newLogin returns a login for scopes that begins now.
func (f *loginFlow) newLogin(now time.Time, returnTo, provider string, scopes []string) *login {
	l := &login{
		started:     now,
		state:       randomText(),
		redirectURI: f.link.RedirectURI,
		returnTo:    returnTo,
		provider:    cmp.Or(f.link.ProviderID, provider),
		scopes:      strings.Join(scopes, " "),
	}
	if f.pkce {
		l.verifier = authserver.NewSecret(randomText())
	}
	return l
}

// begin sets a login's cookie and counts the login.
func (f *loginFlow) begin(w http.ResponseWriter, q *request, l *login) {
	f.logins.prune(w, q.cookies)
	f.logins.add(w, q.cookies, l)
	f.observer.metrics.loginStarts.Inc()
}

// findConnected returns the visitor's session, nil if there is none, and whether it can be
// used. Who was signed out by an operator has none.
func findConnected(q *request, sessions *session.Manager) (s *session.Session, connected bool, err error) {
	s, err = sessions.Find(q.Context(), q.ownCookies.sessionSecrets(), q.now)
	if err != nil && !session.IsRevoked(err) {
		return nil, false, err
	}
	return s, s != nil && !s.IsOver(q.now) && !sessions.HasNoToken(s, q.now), nil
}

// serveLogin serves the login URL, <redirect path>/login?return=<path>. With providerParam
// it leads to a bank, with dialogParam to TrueLayer's dialog, and with ruleParam to a login
// for more scopes, of who has a session that can be used.
func (f *loginFlow) serveLogin(w http.ResponseWriter, q *request) error {
	if q.Method != http.MethodGet {
		return f.notAllowed(w, q, http.MethodGet)
	}
	returnTo := "/"
	query, err := url.ParseQuery(q.query())
	if err == nil && len(query["return"]) == 1 {
		returnTo = f.addresses.returnTarget(query.Get("return"))
	}
	if fetch := q.Header.Get("Sec-Fetch-Mode"); fetch != "" && q.whoAsks() != navigation {
		// an image tag or a frame must not start a login
		return f.refuse(w, q, returnTo)
	}
	s, connected, err := findConnected(q, f.sessions)
	if err != nil {
		return f.fail(w, q, failureOf(err))
	}
	if query.Has(tabParam) {
		if connected || query.Get(tabParam) == tabEnd {
			return f.endTab(w, q, connected)
		}
		returnTo = f.addresses.tabEndURL()
	}
	more := f.moreScopes(query.Get(ruleParam), s)
	switch {
	case connected && more == nil:
		f.seeOther(w, q, returnTo)
		return nil
	case f.addresses.isOtherHost(q.Host) && !query.Has(movedParam):
		return f.moveToLoginHost(w, q, returnTo, query)
	case connected: // the session goes on until the new one is there
		return f.startFor(w, q, returnTo, s.Provider, more)
	case query.Has(providerParam):
		return f.startAt(w, q, returnTo, query.Get(providerParam))
	case query.Has(dialogParam):
		return f.start(w, q, returnTo, "")
	case s != nil:
		return f.startAgain(w, q, returnTo, s)
	}
	return f.choose(w, q, returnTo)
}

// moreScopes returns the scopes to ask for if a session lacks some of those of a rule, nil
// if it lacks none or there is no such rule. What the session has by another rule is asked
// for again: where two rules meet, neither login would be enough.
func (f *loginFlow) moreScopes(rule string, s *session.Session) (scopes []string) {
	if rule == "" || s == nil {
		return nil
	}
	granted, lacks := strings.Fields(s.Scopes), false
	scopes = slices.Clone(f.link.Scopes)
	for _, scope := range ruleScopes(f.server, rule) {
		lacks = lacks || !slices.Contains(granted, scope)
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	if !lacks {
		return nil
	}
	for _, scope := range granted {
		if !slices.Contains(scopes, scope) && hasRuleFor(f.server, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// startAgain begins a login at the same bank as before, if it is known.
func (f *loginFlow) startAgain(w http.ResponseWriter, q *request, returnTo string, s *session.Session) error {
	switch {
	case s.Provider == "":
		return f.choose(w, q, returnTo)
	case f.consents:
		return f.startAt(w, q, returnTo, s.Provider)
	}
	return f.start(w, q, returnTo, s.Provider)
}

// startAt begins a login at a bank, by the site's own consent page if there is one. If a
// login cannot lead straight to the bank, it leads to TrueLayer's dialog.
func (f *loginFlow) startAt(w http.ResponseWriter, q *request, returnTo, provider string) error {
	provider = cmp.Or(f.link.ProviderID, provider)
	if provider == f.link.ProviderID && !f.consents {
		return f.start(w, q, returnTo, provider)
	}
	if _, ok := f.banks.find(q.Context(), provider); !ok {
		return f.start(w, q, returnTo, "")
	}
	if f.consents {
		f.seeOther(w, q, f.addresses.consentURL(provider, returnTo, ""))
		return nil
	}
	return f.start(w, q, returnTo, provider)
}

// movedParam is the parameter of a login URL that moveToLoginHost has redirected to.
const movedParam = "moved"

// moveToLoginHost redirects a visitor to the login URL on the redirect URI's host. With
// movedParam, that URL starts a login whatever the request's host is. A proxy that
// changes the host thus costs one extra redirect instead of causing a loop.
func (f *loginFlow) moveToLoginHost(w http.ResponseWriter, q *request, returnTo string, asked url.Values) error {
	f.logger.Info("a visitor on another host was redirected to the redirect URI's host to log in",
		zap.String("host", sanitize(hostname(q.Host))), zap.String("redirect_host", f.addresses.host))
	f.prepare(w, q.Request)
	query := url.Values{movedParam: {"1"}}
	for _, name := range []string{providerParam, dialogParam, ruleParam, tabParam} {
		if asked.Has(name) {
			query.Set(name, asked.Get(name))
		}
	}
	if returnTo != "/" {
		query.Set("return", returnTo)
	}
	f.seeOther(w, q, f.addresses.origin+f.addresses.login+"?"+query.Encode())
	return nil
}

// reconnect answers a request whose bank connection has ended. A visitor sees a page
// that says so once, and after that is sent to the same bank again.
func (f *loginFlow) reconnect(w http.ResponseWriter, q *request, s *session.Session) error {
	returnTo := f.addresses.returnTarget(q.target())
	person := q.whoAsks() == navigation
	if person && s.Told {
		return f.startAgain(w, q, returnTo, s)
	}
	f.sessions.MarkOver(context.WithoutCancel(q.withCause()), s, person)
	if q.sendsForm() {
		return f.failForm(w, q, consentExpired)
	}
	return f.fail(w, q, failure{reason: consentExpired, returnTo: returnTo})
}

// refuseSession answers a request whose session is not enough for what truelayer_require
// requires. A person who can say a name is asked for it. Otherwise another connection may be
// enough, so the page leads to where one signs out.
func (f *loginFlow) refuseSession(w http.ResponseWriter, q *request, why reason, received, rule string) error {
	returnTo := f.addresses.returnTarget(q.target())
	if q.sendsForm() { // whose own address may take nothing but a form
		returnTo = f.addresses.cameFrom(q, "/")
	}
	if why == nameMissing && f.asksName && q.whoAsks() == navigation {
		f.seeOther(w, q, f.addresses.nameURL(returnTo))
		return nil
	}
	failed := failure{reason: why, received: received, elsewhere: true, link: f.signOut, returnTo: returnTo}
	switch {
	case why == scopeMissing:
		failed.elsewhere, failed.loginURL = false, f.addresses.stepUpURL(rule, returnTo)
	case why == nameMismatch && f.asksName:
		failed.link, failed.action = f.addresses.nameURL(returnTo), "correct_name"
	case why == nameMissing && f.asksName: // a login would lead straight back
		failed.link, failed.action = f.addresses.nameURL(returnTo), "give_name"
		failed.loginURL = f.addresses.origin + failed.link
	}
	if q.sendsForm() {
		failed.details = []pages.Words{{Key: "form_not_saved"}}
	}
	return f.fail(w, q, failed)
}

// revoked answers a request whose session an operator has ended. A visitor sees a page that
// says so once, and after that is like anybody without a session.
func (f *loginFlow) revoked(w http.ResponseWriter, q *request) error {
	who := q.whoAsks()
	if q.sendsForm() {
		return f.failForm(w, q, sessionRevoked)
	}
	if who == navigation {
		f.sessions.ForgetRevoked(context.WithoutCancel(q.Context()), q.ownCookies.sessionSecrets())
		f.logins.forgetSession(w, q.cookies)
	}
	return f.fail(w, q, failure{reason: sessionRevoked, returnTo: f.addresses.returnTarget(q.target())})
}
