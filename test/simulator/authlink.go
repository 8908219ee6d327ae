package simulator

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// authLink is an authorization request that has passed every check.
type authLink struct {
	digest      string // of its exact query; random for a direct bank link
	client      Client
	redirectURI string
	scopes      []string
	providers   []string
	bank        *bank // chosen by provider_id
	state       string
	hasState    bool
	challenge   string
	formPost    bool
}

// knownScopes maps the scopes to the words of the consent page. The text of
// offline_access is empty, because the page states the duration elsewhere.
var knownScopes = map[string]string{
	"verification":    "Your name as the account holder, to compare it with the name you gave",
	"info":            "Your full name and contact details",
	"accounts":        "Your account names, types, sort codes and account numbers",
	"cards":           "Your cards: their names, networks and last four digits",
	"balance":         "Your balances",
	"transactions":    "Your transactions: dates, amounts and descriptions",
	"direct_debits":   "Your direct debits",
	"standing_orders": "Your standing orders",
	"products":        "Details of your account products",
	"beneficiaries":   "People and companies you have paid before",
	"offline_access":  "",
}

const maxAuthLink = 8 << 10

var s256Challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// parseAuthLink checks an authorization request. Its errors are for the developer
// of the application. As with TrueLayer, they appear on a page of the service and
// are never sent to the redirect URI.
func (s *Simulator) parseAuthLink(rawQuery string) (*authLink, error) {
	if len(rawQuery) > maxAuthLink {
		return nil, fmt.Errorf("the auth link is longer than %d bytes: send a shorter one", maxAuthLink)
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("the auth link is not well formed: escape its parameters")
	}
	for name, values := range query {
		if len(values) > 1 {
			return nil, fmt.Errorf("%s comes twice: send it once", name)
		}
	}
	client, known := s.clients[query.Get("client_id")]
	if !known {
		return nil, fmt.Errorf("unknown client_id %q: register it, and check that it belongs to this environment", query.Get("client_id"))
	}
	if !slices.Contains(client.RedirectURIs, query.Get("redirect_uri")) {
		return nil, fmt.Errorf("redirect_uri %q is not registered for this client: register it letter by letter", query.Get("redirect_uri"))
	}
	sum := sha256.Sum256([]byte(rawQuery))
	link := newAuthLink(client, query, string(sum[:]))
	return link, link.check(query)
}

func newAuthLink(client Client, query url.Values, digest string) *authLink {
	return &authLink{
		digest:      digest,
		client:      client,
		redirectURI: query.Get("redirect_uri"),
		scopes:      strings.Fields(query.Get("scope")),
		providers:   strings.Fields(query.Get("providers")),
		state:       query.Get("state"),
		hasState:    query.Has("state"),
		challenge:   query.Get("code_challenge"),
		formPost:    query.Get("response_mode") == "form_post",
	}
}

func (l *authLink) check(query url.Values) error {
	if got := query.Get("response_type"); got != "code" {
		return fmt.Errorf("response_type %q: send code", got)
	}
	if mode := query.Get("response_mode"); mode != "" && !l.formPost {
		return fmt.Errorf("response_mode %q: send form_post, or leave it out", mode)
	}
	if len(l.scopes) == 0 {
		return fmt.Errorf("no scope: name what to ask the user for, for instance verification")
	}
	for _, scope := range l.scopes {
		if _, known := knownScopes[scope]; !known {
			return fmt.Errorf("unknown scope %q: check its spelling", scope)
		}
	}
	if err := checkPKCE(query); err != nil {
		return err
	}
	id := query.Get("provider_id")
	if id == "" {
		return nil
	}
	if !providerID.MatchString(id) {
		return fmt.Errorf("provider_id %q: send a bank's id, for instance mock", id)
	}
	if !covers(l.providers, id) {
		return fmt.Errorf("provider_id %q is not covered by providers: add it there, or a group that it belongs to", id)
	}
	b := byProviderID(id)
	l.bank = &b
	return nil
}

// checkPKCE accepts only S256. In OAuth 2.0, a request without a method means
// plain.
func checkPKCE(query url.Values) error {
	challenge, method := query.Get("code_challenge"), query.Get("code_challenge_method")
	if challenge == "" && method == "" {
		return nil
	}
	if method != "S256" {
		return fmt.Errorf("code_challenge_method %q: send S256", method)
	}
	if !s256Challenge.MatchString(challenge) {
		return fmt.Errorf("code_challenge: send the base64url SHA-256 of the code verifier, 43 characters")
	}
	return nil
}

// back returns the redirect URI with an answer in its query. Spaces in the scope
// are encoded as +, as in forms.
func (l *authLink) back(fields url.Values) string {
	if len(fields) == 0 {
		return l.redirectURI
	}
	separator := "?"
	if strings.Contains(l.redirectURI, "?") {
		separator = "&"
	}
	return l.redirectURI + separator + fields.Encode()
}

// serveAuthorize opens a dialog for an auth link.
func (s *Simulator) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery == "" {
		errorPage(w, http.StatusBadRequest, "A bank login starts with an auth link, which an application makes. This address alone starts nothing.")
		return
	}
	link, err := s.parseAuthLink(r.URL.RawQuery)
	if err != nil {
		s.refuseLink(w, r, err)
		return
	}
	id := newSessionID()
	s.mu.Lock()
	now := s.clock()
	_, used := s.completed.get(link.digest, now)
	if !used {
		s.dialogs.put(id, &dialog{id: id, link: link, bank: link.bank}, now, now.Add(dialogLifetime))
	}
	s.mu.Unlock()
	if used {
		errorPage(w, http.StatusBadRequest, "This login has stopped: "+errUsedLink.Error()+".")
		return
	}
	first := stepBank
	if link.bank != nil {
		first = stepConsent
	}
	toStep(w, first, id)
}

// refuseLink tells the developer what is wrong with an auth link.
func (s *Simulator) refuseLink(w http.ResponseWriter, r *http.Request, err error) {
	s.mu.Lock()
	how := s.settings.Refused
	s.mu.Unlock()
	if how == "redirect" {
		guardPage(w, "")
		http.Redirect(w, r, "/error?"+url.Values{"message": {err.Error()}}.Encode(), http.StatusFound)
		return
	}
	errorPage(w, http.StatusBadRequest, "The application sent a wrong auth link: "+err.Error()+".")
}

// serveRefused is the page to which refuseLink redirects.
func serveRefused(w http.ResponseWriter, r *http.Request) {
	errorPage(w, http.StatusOK, "The application sent a wrong auth link: "+r.URL.Query().Get("message")+".")
}
