package simulator

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// What Secrets remembers is bounded. An access token, the longest of them, has
// one and a half kilobytes.
const (
	maxSecrets      = 10_000
	maxSecretLength = 4 << 10
)

// record is what the simulator noticed, for those who ask afterwards.
type record struct {
	mu      sync.Mutex
	calls   map[string]int
	grants  map[string]int
	form    url.Values
	header  http.Header
	seen    map[string]struct{}
	secrets []string // in order; the oldest is overwritten at oldest
	oldest  int
}

// Calls is how many requests arrived at an endpoint, counted before any fault
// struck. Grant arrives nowhere and is not counted.
func (s *Simulator) Calls(endpoint string) int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.calls[endpoint]
}

// CallsGrant is how many of the token requests had this grant_type.
func (s *Simulator) CallsGrant(grantType string) int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.grants[grantType]
}

// LastTokenRequest is what the last token request said. A JSON request is
// shown as the form it stands for.
func (s *Simulator) LastTokenRequest() (url.Values, http.Header) {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	form := make(url.Values, len(s.record.form))
	for name, values := range s.record.form {
		form[name] = slices.Clone(values)
	}
	return form, s.record.header.Clone()
}

// Secrets is every code, access token, refresh token, PKCE code verifier and
// client secret that the simulator issued or was sent, right or wrong; of very
// many, the latest. A test of an application looks for them in its logs.
func (s *Simulator) Secrets() []string {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return slices.Clone(s.record.secrets)
}

func (r *record) secret(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.seen[text]; known || text == "" || len(text) > maxSecretLength {
		return
	}
	if r.seen == nil {
		r.seen = make(map[string]struct{})
	}
	r.seen[text] = struct{}{}
	if len(r.secrets) < maxSecrets {
		r.secrets = append(r.secrets, text)
		return
	}
	delete(r.seen, r.secrets[r.oldest])
	r.secrets[r.oldest] = text
	r.oldest = (r.oldest + 1) % maxSecrets
}

func (r *record) call(endpoint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls = make(map[string]int)
	}
	r.calls[endpoint]++
}

func (r *record) tokenRequest(form url.Values, header http.Header) {
	for _, name := range []string{"client_secret", "code", "code_verifier", "refresh_token"} {
		r.secret(form.Get(name))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.form, r.header = form, header.Clone()
	if r.grants == nil {
		r.grants = make(map[string]int)
	}
	// Any caller may invent grant types; only the known ones are kept apart.
	switch grant := form.Get("grant_type"); grant {
	case grantCode, grantRefresh:
		r.grants[grant]++
	default:
		r.grants["other"]++
	}
}

func (r *record) counts() (calls, grants map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.calls), maps.Clone(r.grants)
}
