package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// maxName is the longest name to verify, in characters.
const maxName = 200

type verification struct {
	Verified bool     `json:"verified"`
	Holder   string   `json:"account_holder_name"`
	Score    int      `json:"match_score"`
	Report   []report `json:"report"`
}

// report is the Verification API's result for one account.
type report struct {
	Verifiable         bool     `json:"verifiable"`
	FailureDescription string   `json:"failure_description,omitempty"`
	FailureCode        string   `json:"failure_code,omitempty"`
	Currency           string   `json:"currency,omitempty"`
	ProviderID         string   `json:"provider_id"`
	AccountType        string   `json:"account_type"`
	Holders            []holder `json:"account_holders,omitempty"`
	DisplayName        string   `json:"display_name"`
	IBAN               string   `json:"iban,omitempty"`
	SwiftBIC           string   `json:"swift_bic,omitempty"`
	AccountNumber      string   `json:"account_number,omitempty"`
	SortCode           string   `json:"sort_code,omitempty"`
}

type holder struct {
	Name     string `json:"name"`
	Verified bool   `json:"verified"`
	Score    int    `json:"match_score"`
}

// serveVerify compares a name with the account holder's. A difference is a result,
// not an error.
func (s *Simulator) serveVerify(w http.ResponseWriter, r *http.Request) {
	a := s.access(r)
	if refused := a.refusal("verification"); refused != nil {
		p := verifyFailure(refused.status)
		p.Detail = refused.Description
		p.write(w)
		return
	}
	name, invalid := nameToVerify(r)
	if invalid != nil {
		invalid.write(w)
		return
	}
	v := verify(name, &a.connection)
	if v == nil {
		newProblem(http.StatusBadRequest, "No suitable accounts to verify.",
			"the connection has neither a current nor a savings account").write(w)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func nameToVerify(r *http.Request) (string, *problem) {
	var body struct {
		Name *string `json:"name"`
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	var complaint string
	switch {
	case err != nil:
		complaint = `send a JSON object with "name", a string`
	case body.Name == nil || strings.TrimSpace(*body.Name) == "":
		complaint = "the name is missing: send it"
	case utf8.RuneCountInString(*body.Name) > maxName:
		complaint = fmt.Sprintf("the name is too long: send at most %d characters", maxName)
	default:
		return *body.Name, nil
	}
	p := newProblem(http.StatusBadRequest, "One or more validation errors occurred.", "")
	p.Errors = map[string][]string{"name": {complaint}}
	return "", p
}

// verify returns the result for a connection, or nil if it has no account that can
// be verified.
func verify(name string, c *connection) *verification {
	names := c.person.holders()
	holders, best := make([]holder, 0, len(names)), holder{Score: -1}
	for _, of := range names {
		score := matchScore(name, of)
		h := holder{of, score >= verifiedFrom, score}
		if holders = append(holders, h); h.Score > best.Score {
			best = h
		}
	}
	v := &verification{Verified: best.Verified, Holder: best.Name, Score: best.Score}
	suitable := false
	for _, a := range c.accounts {
		entry := report{
			Verifiable: a.Kind != kindCard, ProviderID: c.bank.ID, AccountType: a.Kind, DisplayName: a.Name,
		}
		if entry.Verifiable {
			suitable = true
			entry.Currency, entry.IBAN, entry.SwiftBIC = a.Currency, a.IBAN, a.BIC
			entry.AccountNumber, entry.SortCode = a.Number, a.SortCode
			entry.Holders = holders
		} else {
			entry.FailureCode, entry.FailureDescription = kindCard, "a credit card cannot be verified"
		}
		v.Report = append(v.Report, entry)
	}
	if !suitable {
		return nil
	}
	return v
}
