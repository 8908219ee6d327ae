package simulator

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// These bound what Secrets returns. The longest secret is an access token, with
// about 1.5 KB.
const (
	maxSecrets      = 10_000
	maxSecretLength = 4 << 10
)

// record holds what Calls, CallsGrant, LastTokenRequest,
// LastAuthURIRequest and Secrets return.
type record struct {
	mu      sync.Mutex
	calls   map[string]int
	grants  map[string]int
	form    url.Values
	header  http.Header
	direct  AuthURIRequest
	seen    map[string]struct{}
	secrets []string // a ring buffer, once it is full
	oldest  int
}

// Calls returns the number of requests to an endpoint, including those that a fault
// affected. Calls of Grant are not requests and do not count.
func (s *Simulator) Calls(endpoint string) int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.calls[endpoint]
}

// CallsGrant returns the number of token requests with a grant_type.
func (s *Simulator) CallsGrant(grantType string) int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.grants[grantType]
}

// LastTokenRequest returns the form and the header of the last token request. A
// request in JSON is returned as the equivalent form.
func (s *Simulator) LastTokenRequest() (url.Values, http.Header) {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	form := make(url.Values, len(s.record.form))
	for name, values := range s.record.form {
		form[name] = slices.Clone(values)
	}
	return form, s.record.header.Clone()
}

// LastAuthURIRequest returns the body of the last request for a direct bank link, as
// far as it could be read.
func (s *Simulator) LastAuthURIRequest() AuthURIRequest {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.direct.clone()
}

// Secrets returns the codes, access tokens, refresh tokens, PKCE code verifiers,
// client secrets and sensitive inputs that the simulator has issued or received,
// even invalid ones. If there are very many, it returns the latest. The test of an application can
// search its logs for them.
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

// request keeps what tests may ask for about a request.
func (r *record) request(endpoint string, header http.Header, body []byte) {
	switch endpoint {
	case Token:
		form, _ := tokenForm(header, body)
		r.tokenRequest(form, header)
	case AuthURI:
		var q AuthURIRequest
		_ = q.read(body)
		for _, field := range inputSteps[q.ProviderID].Fields {
			for _, entered := range q.AuthInputs {
				if field.Sensitive && field.ID == entered.ID {
					r.secret(entered.Value)
				}
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.direct = q
	case ReauthURI:
		var q reauthURIRequest
		_ = q.read(body)
		r.secret(q.refreshToken)
	}
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
	// Callers can invent grant types, so unknown ones are counted together.
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
