package truelayer

import (
	"errors"
	"net/url"
)

const (
	maxCallbackQuery = 8 << 10
	maxCode          = 1 << 10
)

// authorizationResponse is what the auth server sends back through the browser (RFC
// 6749 section 4.1.2): a code or an error. The standard does not allow a response with
// neither, but TrueLayer sends one when a visitor gives up, unless the operator has
// set a cancellation URI with an error in TrueLayer's Console.
type authorizationResponse struct {
	code, state, err, description, issuer string
}

var errNoCodeOrError = errors.New("the callback has neither a code nor an error, probably because the visitor gave up, unless a proxy in front drops the query; to have TrueLayer say so, set a cancellation URI that ends in ?error=access_denied in its Console")

// readAuthorizationResponse parses a callback's query. It refuses a repeated parameter
// (RFC 6749 section 3.1), because two parsers could pick different values. It also
// reports whether the response is valid.
func readAuthorizationResponse(query string) (authorizationResponse, bool) {
	if len(query) > maxCallbackQuery {
		return authorizationResponse{}, false
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return authorizationResponse{}, false
	}
	for _, name := range []string{"code", "state", "error", "error_description", "iss"} {
		if len(values[name]) > 1 {
			return authorizationResponse{}, false
		}
	}
	a := authorizationResponse{
		code:        values.Get("code"),
		state:       values.Get("state"),
		err:         values.Get("error"),
		description: values.Get("error_description"),
		issuer:      values.Get("iss"),
	}
	valid := (a.code == "" || a.err == "") && len(a.code) <= maxCode && len(a.state) <= maxCode
	for i := range len(a.code) {
		valid = valid && a.code[i] > 0x20 && a.code[i] <= 0x7e
	}
	return a, valid
}
