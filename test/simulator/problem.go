package simulator

import (
	"encoding/json"
	"net/http"
)

// oauthError is an error answer of the auth server or the Data API.
type oauthError struct {
	status      int
	Error       string            `json:"error"`
	Description string            `json:"error_description,omitempty"`
	Details     map[string]string `json:"error_details,omitempty"`
}

func (e *oauthError) write(w http.ResponseWriter) {
	writeJSON(w, e.status, e)
}

var (
	errInvalidGrant       = &oauthError{status: http.StatusBadRequest, Error: "invalid_grant"}
	errInvalidClient      = &oauthError{status: http.StatusBadRequest, Error: "invalid_client"}
	errUnauthorizedClient = &oauthError{
		status: http.StatusUnauthorized, Error: "unauthorized_client",
		Description: "the client may not do this: check its id, its redirect URI and its approval",
	}
	errInternal = &oauthError{
		status: http.StatusInternalServerError, Error: "internal_server_error",
		Description: "the service failed: try again later",
	}
	errUnauthorized = &oauthError{
		status: http.StatusUnauthorized, Error: "unauthorized",
		Description: "send a valid access token", Details: map[string]string{"reason": "Invalid token"},
	}
)

func invalidRequest(reason string) *oauthError {
	return &oauthError{
		status: http.StatusBadRequest, Error: "invalid_request",
		Description: "the request is incomplete or malformed", Details: map[string]string{"reason": reason},
	}
}

// dataFailures has the errors of the Data API by status, and authFailures those of
// the auth server. They are for faults with a Status alone.
var (
	dataFailures = map[int]oauthError{
		http.StatusBadRequest:          {Error: "validation_error", Description: "a parameter is wrong: check them"},
		http.StatusUnauthorized:        {Error: "unauthorized"},
		http.StatusForbidden:           {Error: "access_denied"},
		http.StatusNotFound:            {Error: "account_not_found", Description: "the connection has no such account: list the accounts first"},
		http.StatusTooManyRequests:     {Error: "provider_too_many_requests", Description: "the bank wants fewer requests: try again later"},
		http.StatusInternalServerError: {Error: "internal_server_error", Description: errInternal.Description},
		http.StatusNotImplemented:      {Error: "endpoint_not_supported", Description: "the bank does not offer this"},
		http.StatusServiceUnavailable:  {Error: "temporarily_unavailable", Description: "the bank does not answer: try again later"},
		http.StatusGatewayTimeout:      {Error: "provider_timeout", Description: "the bank took too long: try again later"},
	}
	authFailures = map[int]oauthError{
		http.StatusBadRequest:      {Error: "invalid_request"},
		http.StatusUnauthorized:    *errUnauthorized,
		http.StatusForbidden:       {Error: "access_denied"},
		http.StatusNotFound:        {Error: "not_found"},
		http.StatusTooManyRequests: *invalidRequest("too many requests: try again later"),
	}
)

// failAs writes the body that an endpoint sends with a status.
func failAs(endpoint string, w http.ResponseWriter, r *http.Request, status int) {
	if endpoint == Authorize {
		errorPage(w, status, "The service cannot start a login just now. Please try again later.")
		return
	}
	if endpoint == Logo { // it comes from a file server
		http.Error(w, http.StatusText(status), status)
		return
	}
	if endpoint == Verify {
		verifyFailure(status).write(w)
		return
	}
	failures := authFailures
	if endpoint == Data {
		failures = dataFailures
	}
	e, known := failures[status]
	if !known {
		e = *errInternal
	}
	e.status = status
	e.write(w)
}

// problem is an error answer of the Verification API.
type problem struct {
	Errors   map[string][]string `json:"errors,omitempty"`
	Type     string              `json:"type"`
	Title    string              `json:"title"`
	Status   int                 `json:"status"`
	Detail   string              `json:"detail,omitempty"`
	Instance string              `json:"instance"`
	TraceID  string              `json:"traceId"`
}

func newProblem(status int, title, detail string) *problem {
	return &problem{
		Type:     "https://docs.truelayer.com/docs/error-codes",
		Title:    title,
		Status:   status,
		Detail:   detail,
		Instance: "/v1/verification",
		TraceID:  newUUID(),
	}
}

func (p *problem) write(w http.ResponseWriter) {
	write(w, p.Status, "application/problem+json; charset=utf-8", p)
}

// verifyFailure returns the Verification API's problem for a status. The titles are
// those of TrueLayer, since an application may compare them.
func verifyFailure(status int) *problem {
	switch status {
	case http.StatusUnauthorized:
		return newProblem(status, "Unauthorized", "send a valid access token")
	case http.StatusForbidden:
		return newProblem(status, "Forbidden", "the access token does not open this")
	case http.StatusTooManyRequests:
		return newProblem(status, "Too Many Requests", "send fewer requests")
	case http.StatusServiceUnavailable:
		return newProblem(status, "Service Unavailable Error", "try again later")
	}
	return newProblem(status, http.StatusText(status), "try again later")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	write(w, status, "application/json; charset=utf-8", v)
}

// write sends a JSON answer that caches must not store, since most answers contain
// tokens or account data.
func write(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
