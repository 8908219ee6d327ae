package truelayer

import (
	"net/http"
	"slices"
	"sync"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// outcome is what became of a request.
type outcome uint8

const (
	// outcomeAnswered: the module answered with a page or JSON that is no failure.
	outcomeAnswered outcome = iota
	// outcomeForwarded: the request went on with an access token.
	outcomeForwarded
	// outcomePublic: the request is not protected, and went on.
	outcomePublic
	// outcomeRedirected: to the bank, or to where the visitor was going.
	outcomeRedirected
	// outcomeRefused: the module answered with a status below 500 that is a failure.
	outcomeRefused
	// outcomeFailed: the module answered with a status of at least 500.
	outcomeFailed
	// outcomeGone: the client did not wait for an answer of the module's own.
	outcomeGone
)

// outcomeNames are the values of the label outcome.
var outcomeNames = [...]string{"answered", "forwarded", "public", "redirected", "refused", "failed", "gone"}

// String implements fmt.Stringer.
func (o outcome) String() string { return outcomeNames[o] }

// resultOK is the result of a login or a token request that was a success.
const resultOK = "ok"

// loginResults are the values of the label result of logins: ok, or why there is no
// session.
var loginResults = []string{
	resultOK,
	string(accessDenied), string(providerError), string(callbackMalformed), string(callbackMisplaced), string(issuerMismatch),
	string(loginLost), string(loginExpired), string(loginUsed), string(codeRefused), string(clientRefused), string(scopeRefused),
	string(tokenRefused), string(tokenUnverified), string(authServerUnavailable), string(storeUnavailable), string(sessionsFull),
	string(tooManyLogins),
}

// The values of the label result of token requests that are not error codes.
const (
	resultOtherError     = "other_error"
	resultRateLimited    = "rate_limited"
	resultServerError    = "server_error"
	resultUnusableAnswer = "unusable_answer"
	resultNoAnswer       = "no_answer"
)

// tokenErrors are the error codes of RFC 6749 section 5.2, and TrueLayer's own
// "unauthorized".
var tokenErrors = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "unauthorized",
}

// tokenResults are the values of the label result of token requests.
var tokenResults = slices.Concat([]string{resultOK, resultOtherError, resultRateLimited, resultServerError, resultUnusableAnswer, resultNoAnswer}, tokenErrors)

// nameResults are the values of the label result of questions about names.
var nameResults = []string{vouch.Match.String(), vouch.NoMatch.String(), vouch.NotVerifiable.String(), vouch.Unavailable.String()}

// tokenResult returns the result of a token request that ended with err.
func tokenResult(err *authserver.Error) string {
	switch {
	case err == nil:
		return resultOK
	case err.Status == 0:
		return resultNoAnswer
	case err.Status == http.StatusTooManyRequests:
		return resultRateLimited
	case err.Status >= 500:
		return resultServerError
	case err.Code == "":
		return resultUnusableAnswer
	case slices.Contains(tokenErrors, err.Code):
		return err.Code
	}
	return resultOtherError
}

// Providers without series of their own.
const unknownProvider, otherProvider = "unknown", "other"

func orUnknown(provider string) string {
	if provider == "" {
		return unknownProvider
	}
	return provider
}

// boundedLabels is a set of label values that cannot grow for ever.
type boundedLabels struct {
	mu    sync.Mutex
	limit int
	known map[string]bool
}

func newBoundedLabels(limit int) *boundedLabels {
	return &boundedLabels{limit: limit, known: make(map[string]bool)}
}

// add returns value, or otherProvider if there are too many values already.
func (l *boundedLabels) add(value string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known[value] {
		if len(l.known) >= l.limit {
			return otherProvider
		}
		l.known[value] = true
	}
	return value
}
