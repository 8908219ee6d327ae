package tlapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// MaxName is the longest name that can be verified, in characters.
const MaxName = 200

// ErrNotVerifiable is the error of VerifyName if the connection has no account with which
// a name can be compared.
var ErrNotVerifiable = errors.New("the connection has no account with which a name can be compared")

// NameVerification is what a bank says of a name.
type NameVerification struct {
	// Verified is TrueLayer's own decision.
	Verified bool
	// Score is how well the names match, from 0 to 100, or -1 if TrueLayer did not say.
	Score int
	// Holder is the name of the account's holder, "" if TrueLayer did not say. It is text
	// as TrueLayer sent it.
	Holder string
}

const verifyCall = "/verification/v1/verify"

// VerifyName asks the Verification API whether a name is that of the account's holder, once,
// with "POST /verification/v1/verify". clientIP is the visitor's address, or "". Its errors
// are ErrNotVerifiable and *authserver.Error, and repeat nothing of the name or the answer.
func VerifyName(ctx context.Context, api *authserver.Server, access authserver.Secret, name, clientIP string, now func() time.Time) (NameVerification, error) {
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return NameVerification{}, authserver.NewError(verifyCall, 0, nil, err)
	}
	fields := http.Header{"Authorization": {"Bearer " + access.Reveal()}}
	if clientIP != "" {
		fields.Set("X-Psu-Ip", clientIP)
	}
	status, header, answer, err := api.PostJSON(ctx, verifyCall, fields, body)
	if err != nil {
		return NameVerification{}, authserver.NewError(verifyCall, status, header, err)
	}
	switch {
	case status == http.StatusBadRequest && isNotVerifiable(answer):
		return NameVerification{}, ErrNotVerifiable
	case status != http.StatusOK:
		return NameVerification{}, authserver.ReadError(verifyCall, status, header, answer, now())
	}
	v, err := readVerification(answer)
	if err != nil && !errors.Is(err, ErrNotVerifiable) {
		err = authserver.NewError(verifyCall, status, header, err)
	}
	return v, err
}

// isNotVerifiable tells TrueLayer's 400 for accounts that cannot be verified from its 400
// for a request that is not valid, which has the member errors.
func isNotVerifiable(answer []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) != nil {
		return false
	}
	if text(members["error"]) == "deprecated_provider" {
		return true
	}
	return text(members["title"]) != "" && absent(members["errors"]) && absent(members["error"])
}

// readVerification reads an answer, in which each member may be missing. The holder's name
// is a text in TrueLayer's schema, and an array in a table of its documents.
func readVerification(answer []byte) (v NameVerification, err error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) != nil {
		return v, errors.New("the answer is not an object")
	}
	var score int
	if v.Score = -1; json.Unmarshal(members["match_score"], &score) == nil && members["match_score"] != nil && score >= 0 && score <= 100 {
		v.Score = score
	}
	if v.Holder = text(members["account_holder_name"]); v.Holder == "" {
		var holders []string
		if json.Unmarshal(members["account_holder_name"], &holders) == nil && len(holders) > 0 {
			v.Holder = holders[0]
		}
	}
	known := json.Unmarshal(members["verified"], &v.Verified) == nil && !absentOrNull(members["verified"])
	if v.Verified {
		return v, nil
	}
	if verifiable := readReport(members["report"]); verifiable == none || text(members["failure_code"]) != "" && verifiable != some {
		return NameVerification{Score: -1}, ErrNotVerifiable
	}
	if !known {
		return NameVerification{Score: -1}, errors.New("the answer does not say whether the name is verified")
	}
	return v, nil
}

func absentOrNull(member json.RawMessage) bool { return member == nil || string(member) == "null" }

// verifiable says whether a report has an account that can be verified.
type verifiable int

const (
	unsaid verifiable = iota
	none
	some
)

func readReport(raw json.RawMessage) verifiable {
	var accounts []struct {
		Verifiable *bool `json:"verifiable"`
	}
	if json.Unmarshal(raw, &accounts) != nil || len(accounts) == 0 {
		return unsaid
	}
	found := none
	for _, a := range accounts {
		switch {
		case a.Verifiable == nil:
			return unsaid
		case *a.Verifiable:
			found = some
		}
	}
	return found
}
