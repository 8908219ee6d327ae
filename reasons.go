package truelayer

import (
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
)

// reason is the code of a failure. It appears in logs, in problem+json, on the page, and
// in {http.truelayer.error}.
type reason string

const (
	loginRequired         reason = "login_required"
	accessDenied          reason = "access_denied"
	providerError         reason = "provider_error"
	callbackMalformed     reason = "callback_malformed"
	callbackMisplaced     reason = "callback_misplaced"
	loginLost             reason = "login_lost"
	loginExpired          reason = "login_expired"
	loginUsed             reason = "login_used"
	sessionLost           reason = "session_lost"
	sessionUnknown        reason = "session_unknown"
	codeRefused           reason = "code_refused"
	clientRefused         reason = "client_refused"
	scopeRefused          reason = "scope_refused"
	tokenRefused          reason = "token_refused"
	tokenUnverified       reason = "token_unverified"
	authServerUnavailable reason = "auth_server_unavailable"
	tokenUnavailable      reason = "token_unavailable" //nolint:gosec // a code, not a credential
	consentExpired        reason = "consent_expired"
	logoutIncomplete      reason = "logout_incomplete"
	crossSite             reason = "cross_site"
	storeUnavailable      reason = "store_unavailable"
	sessionsFull          reason = "sessions_full"
	methodNotAllowed      reason = "method_not_allowed"
	issuerMismatch        reason = "issuer_mismatch"
	tooManyLogins         reason = "too_many_logins"
)

// problem says how a failure with a reason is answered and logged. Its text is in
// internal/pages.
type problem struct {
	status     int
	level      zapcore.Level
	retryAfter int // seconds
}

var problems = map[reason]problem{
	loginRequired:         {http.StatusUnauthorized, zap.DebugLevel, 0},
	accessDenied:          {http.StatusForbidden, zap.InfoLevel, 0},
	providerError:         {http.StatusBadGateway, zap.WarnLevel, 0},
	callbackMalformed:     {http.StatusBadRequest, zap.InfoLevel, 0},
	callbackMisplaced:     {http.StatusBadRequest, zap.WarnLevel, 0},
	issuerMismatch:        {http.StatusBadRequest, zap.WarnLevel, 0},
	tooManyLogins:         {http.StatusTooManyRequests, zap.InfoLevel, 2},
	loginLost:             {http.StatusBadRequest, zap.InfoLevel, 0},
	loginExpired:          {http.StatusBadRequest, zap.InfoLevel, 0},
	loginUsed:             {http.StatusBadRequest, zap.InfoLevel, 0},
	sessionLost:           {http.StatusUnauthorized, zap.WarnLevel, 0},
	sessionUnknown:        {http.StatusUnauthorized, zap.WarnLevel, 0},
	codeRefused:           {http.StatusBadGateway, zap.WarnLevel, 0},
	clientRefused:         {http.StatusBadGateway, zap.ErrorLevel, 0},
	scopeRefused:          {http.StatusBadGateway, zap.ErrorLevel, 0},
	tokenRefused:          {http.StatusBadGateway, zap.ErrorLevel, 0},
	tokenUnverified:       {http.StatusServiceUnavailable, zap.ErrorLevel, 60},
	authServerUnavailable: {http.StatusBadGateway, zap.ErrorLevel, 0},
	// package session logs each failed refresh; this line is for each waiting request
	tokenUnavailable: {http.StatusServiceUnavailable, zap.DebugLevel, 1},
	consentExpired:   {http.StatusUnauthorized, zap.InfoLevel, 0},
	logoutIncomplete: {http.StatusServiceUnavailable, zap.ErrorLevel, 0},
	crossSite:        {http.StatusForbidden, zap.InfoLevel, 0},
	storeUnavailable: {http.StatusServiceUnavailable, zap.ErrorLevel, 5},
	sessionsFull:     {http.StatusServiceUnavailable, zap.ErrorLevel, 60},
	methodNotAllowed: {http.StatusMethodNotAllowed, zap.DebugLevel, 0},
}

// text returns the text that people and programs get for a reason.
func (r reason) text() pages.Text { return pages.TextOf(string(r)) }
