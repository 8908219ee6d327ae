package truelayer

import (
	"net/http"

	"github.com/caddy-truelayer/caddy-truelayer/internal/doctor"
)

// serveDoctor checks the set-up of the blocks that serve requests.
func serveDoctor(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Offline bool   `json:"offline"`
		Site    string `json:"site"`
	}
	if err := readAdminBody(w, r, &request); err != nil {
		return err
	}
	live, err := latestBlocks(request.Site)
	if err != nil {
		return err
	}
	sites, blocks := make([]string, len(live)), make([]doctor.Block, len(live))
	for i, h := range live {
		sites[i], blocks[i] = h.sessions.Site, h.liveDiagnosis()
		blocks[i].Offline = request.Offline
	}
	return answerAdmin(w, examine(r.Context(), sites, blocks))
}

// liveDiagnosis returns what the doctor gets of a block that serves requests. It uses
// the credentials with which the block was loaded.
func (h *Handler) liveDiagnosis() doctor.Block {
	client := h.sessions.Client
	b := h.diagnosis(client.ID, client.Secret)
	id, secret, err := h.expandCredentials()
	b.Credentials = h.credentialsOf(err)
	if err == nil {
		b.Credentials[0].Stale = id != client.ID
		b.Credentials[1].Stale = secret.Reveal() != client.Secret.Reveal()
	}
	b.AccessLogs = doctor.AccessLogs{On: hasAccessLogs(h.server), Filtered: logFilters.Load() > 0}
	b.Store = h.store
	return b
}

// serveAuthLinks makes the auth links that visitors would be sent to.
func serveAuthLinks(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Site string `json:"site"`
	}
	if err := readAdminBody(w, r, &request); err != nil {
		return err
	}
	live, err := latestBlocks(request.Site)
	if err != nil {
		return err
	}
	answer := authLinks{Links: make([]authLink, len(live))}
	for i, h := range live {
		b := h.diagnosis(h.sessions.Client.ID, h.sessions.Client.Secret)
		answer.Links[i] = authLink{h.sessions.Site, b.TrueLayer.AuthLink()}
	}
	return answerAdmin(w, answer)
}
