package simulator

import (
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
	Steps        any          `json:"steps,omitempty"`
	Availability availability `json:"availability"`
}

type availability struct {
	Status  string `json:"recommended_status"`
	Updated string `json:"updated_at"`
}

var (
	providerScopes = []string{
		"info", "accounts", "cards", "balance", "transactions", "direct_debits", "standing_orders", "offline_access",
	}
	continentalScopes = []string{"info", "accounts", "balance", "transactions", "offline_access"}
)

// serveProviders lists the mock banks that are enabled for clientId, or all without
// one. An unknown client has none, which is no error.
func (s *Simulator) serveProviders(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	countries, scopes := strings.Fields(query.Get("country")), strings.Fields(query.Get("scopes"))
	enabled := banks
	if client, known := s.clients[query.Get("clientId")]; query.Has("clientId") && (!known || client.NoBanks) {
		enabled = nil
	}
	s.mu.Lock()
	unhealthy := s.settings.Unhealthy
	s.mu.Unlock()
	list := []provider{}
	for _, b := range enabled {
		if len(countries) > 0 && !slices.Contains(countries, b.Country) || !containsAll(b.scopes(), scopes) {
			continue
		}
		status := "healthy"
		if slices.Contains(unhealthy, b.ID) {
			status = "unhealthy"
		}
		list = append(list, provider{
			ID: b.ID, Name: b.Name, Country: b.Country, Logo: address(r) + logoPath(b), Scopes: b.scopes(),
			Steps: listedSteps(b), Availability: availability{status, s.timestamp()},
		})
	}
	writeJSON(w, http.StatusOK, list)
}

func containsAll(list, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(one string) bool { return !slices.Contains(list, one) })
}

// listedSteps returns the steps of a bank in one of two forms, or nil if it has
// none.
func listedSteps(b bank) any {
	step, some := inputSteps[b.ID]
	switch {
	case !some:
		return nil
	case step.Title == "":
		return step.Fields
	}
	return []inputStep{step}
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
