package truelayer

import (
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// reason is the code of a failure: in logs, in problem+json, on the page, and
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

// problem is how a reason is told to people and machines.
type problem struct {
	status     int
	level      zapcore.Level
	title      string
	text       string
	action     string // the button to the login URL
	retryAfter int    // seconds
}

var problems = map[reason]problem{
	loginRequired: {
		http.StatusUnauthorized, zap.DebugLevel, "Connect your bank to continue",
		"This part of the site needs a connection to your bank.", "Connect your bank", 0,
	},
	accessDenied: {
		http.StatusForbidden, zap.InfoLevel, "Your bank was not connected",
		"The connection was cancelled or declined, so nothing was shared. You can try again whenever you like.", "Try again", 0,
	},
	providerError: {
		http.StatusBadGateway, zap.WarnLevel, "Your bank could not be connected",
		"The bank connection ended with an error. Nothing was shared. It often helps to try again in a few minutes.", "Try again", 0,
	},
	callbackMalformed: {
		http.StatusBadRequest, zap.InfoLevel, "Nothing to do here",
		"This address is where your bank sends you back to. It cannot be opened by itself.", "Connect your bank", 0,
	},
	callbackMisplaced: {
		http.StatusBadRequest, zap.WarnLevel, "Your bank's answer came to the wrong address",
		"Something between your browser and this site has changed the address. Trying again will not help; please tell the people who run this site.", "", 0,
	},
	issuerMismatch: {
		http.StatusBadRequest, zap.WarnLevel, "Your bank could not be connected",
		"The answer came from another service than the one that was asked, so it was not used. Please start again.", "Start again", 0,
	},
	tooManyLogins: {
		http.StatusTooManyRequests, zap.InfoLevel, "Many people are signing in",
		"Your bank's answer has arrived and waits for its turn. This page tries again by itself in a moment.", "", 2,
	},
	loginLost: {
		http.StatusBadRequest, zap.InfoLevel, "We lost track of this connection",
		"The cookie that belongs to it did not come back. That happens when the connection was started in another browser or under another address of this site, or when cookies are blocked. This site has received nothing from your bank.", "Start again", 0,
	},
	loginExpired: {
		http.StatusBadRequest, zap.InfoLevel, "This took too long",
		"More than half an hour went by since you left for your bank, so this attempt is no longer valid. This site has received nothing from your bank.", "Start again", 0,
	},
	loginUsed: {
		http.StatusBadRequest, zap.InfoLevel, "This connection was already used",
		"Each confirmation from a bank works once, and this one has been used. If you are not signed in, please start again.", "Start again", 0,
	},
	sessionLost: {
		http.StatusUnauthorized, zap.WarnLevel, "Your session did not last",
		"Your bank was connected a moment ago, but this visit came without it. Your browser may be blocking cookies for this site.", "Connect again", 0,
	},
	sessionUnknown: {
		http.StatusUnauthorized, zap.WarnLevel, "This site has lost your session",
		"Your bank was connected a moment ago, but the server that answers now does not know of it. That happens when a site runs on several servers that do not share their sessions, or does not keep them. Trying again may not help; please tell the people who run this site.", "Connect again", 0,
	},
	codeRefused: {
		http.StatusBadGateway, zap.WarnLevel, "Your bank could not be connected",
		"The confirmation from your bank was not accepted. It may have been too old. Please start again.", "Start again", 0,
	},
	clientRefused: {
		http.StatusBadGateway, zap.ErrorLevel, "Your bank could not be connected",
		"This site is not set up correctly for bank connections. Trying again will not help; please tell the people who run it.", "Try again", 0,
	},
	scopeRefused: {
		http.StatusBadGateway, zap.ErrorLevel, "Your bank could not be connected",
		"The connection does not cover what this site needs. Trying again may not help; please tell the people who run this site.", "Try again", 0,
	},
	tokenRefused: {
		http.StatusBadGateway, zap.ErrorLevel, "Your bank could not be connected",
		"The answer of the bank connection could not be trusted, so it was not used. Please tell the people who run this site.", "Try again", 0,
	},
	tokenUnverified: {
		http.StatusServiceUnavailable, zap.ErrorLevel, "Your bank cannot be connected right now",
		"The answer of the bank connection could not be checked. Please try again in a few minutes.", "Start again", 60,
	},
	authServerUnavailable: {
		http.StatusBadGateway, zap.ErrorLevel, "Your bank could not be connected",
		"The service that connects banks did not answer as it should. Please try again in a few minutes.", "Start again", 0,
	},
	tokenUnavailable: {
		// refresh.go logs each attempt; this is each request that had to wait for it
		http.StatusServiceUnavailable, zap.DebugLevel, "Your bank connection is not answering right now",
		"You are still signed in. This page tries again by itself in a moment.", "", 1,
	},
	consentExpired: {
		http.StatusUnauthorized, zap.InfoLevel, "Your bank connection has ended",
		"Banks share data for a limited time, and you can end it at your bank whenever you like. To go on, please connect your bank again.", "Connect your bank again", 0,
	},
	logoutIncomplete: {
		http.StatusServiceUnavailable, zap.ErrorLevel, "You are signed out in this browser",
		"This browser has forgotten your session, but something on our side is not answering, so the session itself may last until it expires.", "", 0,
	},
	crossSite: {
		http.StatusForbidden, zap.InfoLevel, "That came from another site",
		"A page of another site has sent this request, so nothing was done. Please use the pages of this site.", "", 0,
	},
	storeUnavailable: {
		http.StatusServiceUnavailable, zap.ErrorLevel, "We cannot look up your session right now",
		"Something on our side is not answering. You are still signed in if you were before. Please reload this page in a moment.", "", 5,
	},
	sessionsFull: {
		http.StatusServiceUnavailable, zap.ErrorLevel, "Too many people are signed in right now",
		"There is no room for another session at this moment. Please try again later.", "Try again", 60,
	},
	methodNotAllowed: {
		http.StatusMethodNotAllowed, zap.DebugLevel, "This address works differently",
		"It can only be opened as a page.", "Connect your bank", 0,
	},
}
