package truelayer

import (
	"net/http"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// reason is the code of a failure. It appears in logs, in problem+json, on the page, and
// in {http.truelayer.error}.
type reason string

const (
	loginRequired           reason = "login_required"
	accessDenied            reason = "access_denied"
	providerError           reason = "provider_error"
	callbackMalformed       reason = "callback_malformed"
	callbackMisplaced       reason = "callback_misplaced"
	loginLost               reason = "login_lost"
	loginExpired            reason = "login_expired"
	loginUsed               reason = "login_used"
	sessionLost             reason = "session_lost"
	sessionUnknown          reason = "session_unknown"
	sessionRevoked          reason = "session_revoked"
	codeRefused             reason = "code_refused"
	clientRefused           reason = "client_refused"
	scopeRefused            reason = "scope_refused"
	tokenRefused            reason = "token_refused"
	tokenUnverified         reason = "token_unverified"
	authServerUnavailable   reason = "auth_server_unavailable"
	tokenUnavailable        reason = "token_unavailable" //nolint:gosec // a code, not a credential
	consentExpired          reason = "consent_expired"
	logoutIncomplete        reason = "logout_incomplete"
	crossSite               reason = "cross_site"
	storeUnavailable        reason = "store_unavailable"
	sessionsFull            reason = "sessions_full"
	methodNotAllowed        reason = "method_not_allowed"
	issuerMismatch          reason = "issuer_mismatch"
	tooManyLogins           reason = "too_many_logins"
	consentFormExpired      reason = "consent_form_expired"
	bankLinkRefused         reason = "bank_link_refused"
	bankLinkUnavailable     reason = "bank_link_unavailable"
	tooManyConsents         reason = "too_many_consents"
	nameMissing             reason = "name_missing"
	nameMismatch            reason = "name_mismatch"
	accountNotVerifiable    reason = "account_not_verifiable"
	verificationUnavailable reason = "verification_unavailable"
	tooManyNames            reason = "too_many_names"
	scopeMissing            reason = "scope_missing"
	providerRefused         reason = "provider_refused"
	foreignForm             reason = "foreign_form"
)

// problem says how a failure with a reason is answered and logged. Its text is in
// internal/pages.
type problem struct {
	status     int
	level      zapcore.Level
	retryAfter int // seconds
	// message is the log's: what happened, and what the operator can do.
	message string
}

var problems = map[reason]problem{
	loginRequired:         {http.StatusUnauthorized, zap.DebugLevel, 0, "a request without a session was refused"},
	accessDenied:          {http.StatusForbidden, zap.InfoLevel, 0, "a login ended at the bank: the visitor cancelled, or the bank declined"},
	providerError:         {http.StatusBadGateway, zap.WarnLevel, 0, "a login came back with an error: if every bank fails, check scopes and providers"},
	callbackMalformed:     {http.StatusBadRequest, zap.InfoLevel, 0, "a callback was refused: it has no parameters of a login, or broken ones"},
	callbackMisplaced:     {http.StatusBadRequest, zap.WarnLevel, 0, "a callback came to another path than redirect_uri's"},
	issuerMismatch:        {http.StatusBadRequest, zap.WarnLevel, 0, "a callback names another issuer: set issuer to it if it is TrueLayer's"},
	tooManyLogins:         {http.StatusTooManyRequests, zap.InfoLevel, 2, "a login waits for its turn, with its code unsent"},
	loginLost:             {http.StatusBadRequest, zap.InfoLevel, 0, "a callback came without its login cookie: it began in another browser or on another host, cookies are blocked, or a proxy in front drops them"},
	loginExpired:          {http.StatusBadRequest, zap.InfoLevel, 0, "a callback came more than half an hour after its login began"},
	loginUsed:             {http.StatusBadRequest, zap.InfoLevel, 0, "a callback was repeated"},
	sessionLost:           {http.StatusUnauthorized, zap.WarnLevel, 0, "a visitor came back without the session that was just begun: the browser may block cookies"},
	sessionUnknown:        {http.StatusUnauthorized, zap.WarnLevel, 0, "a visitor came back with a session that the store does not have"},
	sessionRevoked:        {http.StatusUnauthorized, zap.InfoLevel, 0, "a visitor came back after an operator had ended the session"},
	codeRefused:           {http.StatusBadGateway, zap.WarnLevel, 0, "the token endpoint refused a code: it may be too old"},
	clientRefused:         {http.StatusBadGateway, zap.ErrorLevel, 0, "the token endpoint refused the client: check client_id, client_secret and environment"},
	scopeRefused:          {http.StatusBadGateway, zap.ErrorLevel, 0, "none of the scopes was granted: check which ones TrueLayer has enabled for the client id"},
	tokenRefused:          {http.StatusBadGateway, zap.ErrorLevel, 0, "an access token did not pass its check: check verify_access_token and issuer"},
	tokenUnverified:       {http.StatusServiceUnavailable, zap.ErrorLevel, 60, "the keys for the check of an access token could not be fetched: check verify_access_token"},
	authServerUnavailable: {http.StatusBadGateway, zap.ErrorLevel, 0, "the token endpoint gave no usable answer: check the way to the auth server"},
	// package session logs each failed refresh; this line is for each waiting request
	tokenUnavailable:        {http.StatusServiceUnavailable, zap.DebugLevel, 1, "a request waited in vain for the refresh of its token"},
	consentExpired:          {http.StatusUnauthorized, zap.InfoLevel, 0, "a visitor came back after the end of the consent"},
	logoutIncomplete:        {http.StatusServiceUnavailable, zap.ErrorLevel, 0, "a session could not be deleted and may last until it expires: check the store"},
	crossSite:               {http.StatusForbidden, zap.InfoLevel, 0, "a request from another origin's page was refused: allow_origins names those that may send it"},
	storeUnavailable:        {http.StatusServiceUnavailable, zap.ErrorLevel, 5, "the store failed: check it and the way to it"},
	sessionsFull:            {http.StatusServiceUnavailable, zap.ErrorLevel, 60, "the store is full: raise max_sessions, or use another store"},
	consentFormExpired:      {http.StatusBadRequest, zap.InfoLevel, 0, "a consent was not taken: its form was old, or its cookie is missing"},
	bankLinkRefused:         {http.StatusBadGateway, zap.ErrorLevel, 0, "TrueLayer refused to give a link to a bank: check that it has approved the client for consent on the site's own page, and redirect_uri and scopes"},
	bankLinkUnavailable:     {http.StatusBadGateway, zap.ErrorLevel, 0, "TrueLayer gave no usable link to a bank: check the way to the auth server"},
	tooManyConsents:         {http.StatusTooManyRequests, zap.WarnLevel, 10, "a link to a bank was not asked for: there are too many others, of this network or in all"},
	nameMissing:             {http.StatusForbidden, zap.InfoLevel, 0, "a visitor came without a name where a verified one is required"},
	nameMismatch:            {http.StatusForbidden, zap.InfoLevel, 0, "a visitor was refused: the bank's account is in another name"},
	accountNotVerifiable:    {http.StatusForbidden, zap.InfoLevel, 0, "a visitor was refused: the bank connection has no account whose holder can be verified"},
	verificationUnavailable: {http.StatusServiceUnavailable, zap.WarnLevel, 5, "a visitor was refused since the bank could not be asked about the name"},
	tooManyNames:            {http.StatusTooManyRequests, zap.WarnLevel, 60, "a visitor has tried too many names"},
	scopeMissing:            {http.StatusForbidden, zap.InfoLevel, 0, "a visitor was refused: the session lacks a scope that the page requires"},
	providerRefused:         {http.StatusForbidden, zap.InfoLevel, 0, "a visitor was refused: the page requires another bank"},
	foreignForm:             {http.StatusForbidden, zap.InfoLevel, 0, "a form of the module's own page was refused: its Origin is not redirect_uri's; if it happens to everybody, something in front changes Origin, or sets Referrer-Policy to no-referrer"},
	methodNotAllowed:        {http.StatusMethodNotAllowed, zap.DebugLevel, 0, "a request with a method that is not allowed was refused"},
}

// text returns the text that programs get for a reason.
func (r reason) text() pages.Text { return pages.English().Text(string(r)) }

// sentences returns what programs get for a reason, with the details of one failure.
func (r reason) sentences(details []pages.Words) string {
	sentences := make([]string, 0, 1+len(details))
	sentences = append(sentences, r.text().Text)
	for _, words := range details {
		sentences = append(sentences, pages.English().Words(words))
	}
	return strings.Join(sentences, " ")
}
