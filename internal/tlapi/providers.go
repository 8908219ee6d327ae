// Package tlapi has the calls to TrueLayer that are no part of OAuth 2.0.
package tlapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
)

// Provider is a bank that visitors can choose. Only the ID is certain to be there.
type Provider struct {
	// ID is the value for provider_id, such as "ob-monzo".
	ID      string
	Name    string
	Country string
	LogoURL string
	Scopes  []string
	// Status is how well the bank's connection works, such as "healthy". TrueLayer's
	// schema does not have it, only an example does.
	Status string
	// Steps are the fields that visitors fill in before the bank's own login. Most
	// banks have none.
	Steps []Step
}

// NeedsDialog reports whether visitors may have to enter text, which may be a secret.
// They do so in TrueLayer's own dialog and nowhere else.
func (p Provider) NeedsDialog() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Sensitive || s.Values == nil })
}

// ProviderList is an answer to ListProviders.
type ProviderList struct {
	Providers []Provider
	// Date is when the answer was made, by TrueLayer's clock. It is the zero Time if
	// the answer does not say.
	Date time.Time
	// Status is the HTTP status of the answer, or 0 if there was no answer.
	Status int
}

const (
	// maxProviders is the largest list to accept.
	maxProviders = 1 << 20
	// maxID is longer than any provider's id.
	maxID = 100
)

// ListProviders lists the providers that are enabled for a client, with "GET
// /api/providers". The list has its Date and Status even if there is an error.
func ListProviders(ctx context.Context, server *authserver.Server, clientID string) (ProviderList, error) {
	// nothing but the client: the scopes that can be filtered by lack verification
	status, header, body, err := server.Get(ctx, "/api/providers?"+url.Values{"clientId": {clientID}}.Encode(), maxProviders)
	list := ProviderList{Status: status}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		list.Date = date
	}
	if err != nil {
		return list, fmt.Errorf("listing providers: %w", err)
	}
	if status != http.StatusOK {
		return list, fmt.Errorf("listing providers: unexpected answer with status %d", status)
	}
	list.Providers, err = readProviders(body)
	return list, err
}

// readProviders reads an array of providers. The schema says that the answer is an
// object, and the example is an array; an object is accepted if it is one provider.
// What is malformed is left out, since the rest is of use without it.
func readProviders(body []byte) ([]Provider, error) {
	var entries []json.RawMessage
	if json.Unmarshal(body, &entries) != nil {
		var object map[string]json.RawMessage
		if json.Unmarshal(body, &object) != nil || object["provider_id"] == nil {
			return nil, errors.New("listing providers: the answer is not a list of providers")
		}
		entries = []json.RawMessage{body}
	}
	providers := []Provider{} // without room for all entries: a hostile list has a million
	for _, entry := range entries {
		if p := readProvider(entry); p.ID != "" {
			providers = append(providers, p)
		}
	}
	return providers, nil
}

// readProvider returns a Provider without an ID if the entry has no usable one.
func readProvider(entry json.RawMessage) Provider {
	var members map[string]json.RawMessage
	if json.Unmarshal(entry, &members) != nil {
		return Provider{}
	}
	p := Provider{
		ID: text(members["provider_id"]), Name: text(members["display_name"]),
		Country: text(members["country"]), LogoURL: text(members["logo_url"]),
		Steps: readSteps(members["steps"]),
	}
	if !isID(p.ID) {
		return Provider{}
	}
	_ = json.Unmarshal(members["scopes"], &p.Scopes) // in another form they are unknown
	var availability map[string]json.RawMessage
	if json.Unmarshal(members["availability"], &availability) == nil {
		p.Status = text(availability["recommended_status"])
	}
	return p
}

// isID reports whether an id can stand in an auth link and in a log.
func isID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}
