package tlapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// BankLinkRequest asks for a link that leads straight to a bank, for a user whose consent
// the site has collected itself. TrueLayer has to approve a client before it may ask.
type BankLinkRequest struct {
	ClientID    string
	RedirectURI string
	Scopes      []string
	State       string
	// Verifier is the PKCE code verifier; the zero Secret leaves PKCE out.
	Verifier authserver.Secret
	// ConsentID names the consent. TrueLayer wants letters and digits.
	ConsentID string
	// DataUse is the text that the user was shown.
	DataUse    string
	User       User
	ProviderID string
	// Inputs are what the user chose for the steps of the provider.
	Inputs []Input
	// TrackingID may be "".
	TrackingID string
}

// User is the person who has consented. TrueLayer wants the name, and the e-mail address
// or a phone number.
type User struct {
	Name  string
	Email string
}

// Input is the value that a user has chosen for a Step.
type Input struct{ StepID, Value string }

// MarshalJSON writes the request as TrueLayer's description has it. Nothing else may be in
// it.
func (q *BankLinkRequest) MarshalJSON() ([]byte, error) {
	body := map[string]any{
		"response_type": "code", "client_id": q.ClientID, "redirect_uri": q.RedirectURI, "scope": strings.Join(q.Scopes, " "),
		"state": q.State, "consent_id": q.ConsentID, "data_use_description": q.DataUse, "provider_id": q.ProviderID,
		"user": map[string]string{"name": q.User.Name, "email": q.User.Email},
	}
	if challenge := authserver.Challenge(q.Verifier); challenge != "" {
		body["code_challenge"], body["code_challenge_method"] = challenge, authserver.ChallengeMethod
	}
	// the text of the description has an object, and its schema a list of objects
	inputs := make([]map[string]string, 0, len(q.Inputs))
	for _, input := range q.Inputs {
		inputs = append(inputs, map[string]string{input.StepID: input.Value})
	}
	if len(inputs) > 0 {
		body["auth_inputs"] = inputs
	}
	if q.TrackingID != "" {
		body["tracking_id"] = q.TrackingID
	}
	return json.Marshal(body)
}

// RequestBankLink asks for a link to a bank, once, with "POST /v1/authuri". Its errors are
// of type *authserver.Error, and repeat nothing of the request.
func RequestBankLink(ctx context.Context, server *authserver.Server, q *BankLinkRequest, now func() time.Time) (link string, err error) {
	return requestLink(ctx, server, "/v1/authuri", q, now)
}

// requestLink asks for a link by a call, once.
func requestLink(ctx context.Context, server *authserver.Server, call string, q json.Marshaler, now func() time.Time) (link string, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return "", authserver.NewError(call, 0, nil, err)
	}
	status, header, answer, err := server.PostJSON(ctx, call, nil, body)
	if err != nil {
		return "", authserver.NewError(call, status, header, err)
	}
	if status != http.StatusOK {
		return "", authserver.ReadError(call, status, header, answer, now())
	}
	link, err = readBankLink(answer, server.Base())
	if err != nil {
		return "", authserver.NewError(call, status, header, err)
	}
	return link, nil
}

// readBankLink reads the link in an answer. It is a link only if the answer says that it
// is one.
func readBankLink(answer []byte, base string) (link string, err error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) != nil {
		return "", errors.New("the answer is not an object")
	}
	if string(members["success"]) != "true" {
		return "", errors.New("the answer does not say success")
	}
	link = text(members["result"])
	if !isBankLink(link, base) {
		return "", errors.New("the answer's result is not an absolute https URL of a usual length")
	}
	return link, nil
}

// maxBankLink is the longest link to accept. Banks put signed requests of some kilobytes
// into their links. Browsers and proxies take a Location of that size.
const maxBankLink = 8 << 10

// isBankLink reports whether a browser may be sent to a link. Plain http is for tests: an
// auth server on this machine may send browsers to a bank on this machine.
func isBankLink(link, base string) bool {
	if len(link) > maxBankLink {
		return false
	}
	for i := range len(link) {
		// browsers read a backslash as a slash, and drop tabs and line breaks
		if c := link[i]; c <= 0x20 || c > 0x7e || c == '\\' {
			return false
		}
	}
	u, err := url.Parse(link)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && authserver.IsLoopback(u.Hostname()) && isLoopbackHTTP(base)
}

func isLoopbackHTTP(base string) bool {
	u, err := url.Parse(base)
	return err == nil && u.Scheme == "http" && authserver.IsLoopback(u.Hostname())
}
