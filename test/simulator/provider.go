package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// provider is a bank as /api/providers lists it.
type provider struct {
	ID           string       `json:"provider_id"`
	Name         string       `json:"display_name"`
	Country      string       `json:"country"`
	Logo         string       `json:"logo_url"`
	Scopes       []string     `json:"scopes"`
	Availability availability `json:"availability"`
}

type availability struct {
	Status  string `json:"recommended_status"`
	Updated string `json:"updated_at"`
}

var providerScopes = []string{
	"info", "accounts", "cards", "balance", "transactions", "direct_debits", "standing_orders", "offline_access",
}

// serveProviders lists the mock banks that are enabled for clientId, or all without
// one. An unknown client has none, which is no error.
func (s *Simulator) serveProviders(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	countries := strings.Fields(query.Get("country"))
	list := []provider{}
	for scope := range strings.FieldsSeq(query.Get("scopes")) {
		if !slices.Contains(providerScopes, scope) {
			writeJSON(w, http.StatusOK, list)
			return
		}
	}
	if client, known := s.clients[query.Get("clientId")]; query.Has("clientId") && (!known || client.NoBanks) {
		writeJSON(w, http.StatusOK, list)
		return
	}
	s.mu.Lock()
	unhealthy := s.settings.Unhealthy
	s.mu.Unlock()
	for _, b := range banks {
		if len(countries) > 0 && !slices.Contains(countries, b.Country) {
			continue
		}
		status := "healthy"
		if slices.Contains(unhealthy, b.ID) {
			status = "unhealthy"
		}
		list = append(list, provider{
			ID: b.ID, Name: b.Name, Country: b.Country, Logo: s.base(r) + logoPath(b),
			Scopes: providerScopes, Availability: availability{status, s.timestamp()},
		})
	}
	writeJSON(w, http.StatusOK, list)
}

func logoPath(b bank) string {
	return "/logos/" + b.ID + ".svg"
}

// Initial returns the letter in a bank's logo.
func (b bank) Initial() string { return b.Name[:1] }

func serveLogo(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutSuffix(r.PathValue("file"), ".svg")
	if !ok || !providerID.MatchString(id) {
		http.NotFound(w, r)
		return
	}
	b := byProviderID(id)
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><rect width="40" height="40" rx="10" fill="%s"/>`+
		`<text x="20" y="27" text-anchor="middle" font-family="sans-serif" font-size="20" font-weight="700" fill="#fff">%s</text></svg>`,
		b.Tone, b.Initial())
}

// serveDelete deletes the connection of an access token. All its tokens become
// invalid.
func (s *Simulator) serveDelete(w http.ResponseWriter, r *http.Request) {
	a := s.access(r)
	if a.invalid || !a.expired.IsZero() {
		errUnauthorized.write(w)
		return
	}
	s.mu.Lock()
	s.connections.drop(a.connection.subject())
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}
