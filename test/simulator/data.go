package simulator

import (
	"net/http"
	"strings"
	"time"
)

// serveData serves the resources of the Data API that describe the connection. For
// all others it answers that the bank does not support them.
func (s *Simulator) serveData(w http.ResponseWriter, r *http.Request) {
	a := s.access(r)
	resources := map[string]struct {
		scope string
		list  func() []any
	}{
		"/data/v1/me":       {"", func() []any { return []any{s.me(r, &a.connection)} }},
		"/data/v1/info":     {"info", func() []any { return []any{s.info(&a.connection)} }},
		"/data/v1/accounts": {"accounts", func() []any { return s.dataAccounts(&a.connection, "") }},
	}
	path, account, one := strings.Cut(r.URL.Path, "/accounts/")
	if one = one && account != "" && !strings.Contains(account, "/"); one {
		path += "/accounts"
	}
	resource, known := resources[path]
	if refused := a.refusal(resource.scope); refused != nil {
		refused.write(w)
		return
	}
	if !known {
		failAs(Data, w, r, http.StatusNotImplemented)
		return
	}
	list := resource.list()
	if one {
		list = s.dataAccounts(&a.connection, account)
	}
	if one && len(list) == 0 {
		failAs(Data, w, r, http.StatusNotFound)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"results": list, "status": "Succeeded"})
}

type me struct {
	ClientID      string     `json:"client_id"`
	CredentialsID string     `json:"credentials_id"`
	Status        string     `json:"consent_status"`
	Updated       string     `json:"consent_status_updated_at"`
	Created       string     `json:"consent_created_at"`
	Expires       string     `json:"consent_expires_at"`
	Provider      meProvider `json:"provider"`
	Scopes        []string   `json:"scopes"`
	PrivacyPolicy string     `json:"privacy_policy"`
}

type meProvider struct {
	Name string `json:"display_name"`
	Logo string `json:"logo_uri"`
	ID   string `json:"provider_id"`
}

func (s *Simulator) me(r *http.Request, c *connection) me {
	return me{
		ClientID: c.client.ID, CredentialsID: c.subject(), Status: "Authorised",
		Updated: timestamp(c.began), Created: timestamp(c.began), Expires: timestamp(c.ends),
		Provider: meProvider{c.bank.Name, address(r) + logoPath(c.bank), c.bank.ID},
		Scopes:   c.scopes, PrivacyPolicy: privacyPolicy,
	}
}

func (s *Simulator) info(c *connection) any {
	return map[string]string{"full_name": c.person.name, "update_timestamp": s.timestamp()}
}

// dataAccounts returns all accounts, or the one with the given id. It omits cards,
// which are a separate resource.
func (s *Simulator) dataAccounts(c *connection, id string) []any {
	types := map[string]string{kindCurrent: "TRANSACTION", kindSavings: "SAVINGS"}
	list := []any{}
	for _, a := range c.accounts {
		if a.Kind == kindCard || id != "" && id != a.ID {
			continue
		}
		number := map[string]string{"iban": a.IBAN, "swift_bic": a.BIC}
		if a.SortCode != "" {
			number["number"], number["sort_code"] = a.Number, a.SortCode
		}
		list = append(list, map[string]any{
			"update_timestamp": s.timestamp(),
			"account_id":       a.ID,
			"account_type":     types[a.Kind],
			"display_name":     a.Name,
			"currency":         a.Currency,
			"account_number":   number,
			"provider":         map[string]string{"provider_id": c.bank.ID},
		})
	}
	return list
}

func (s *Simulator) timestamp() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return timestamp(s.clock())
}

func timestamp(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
