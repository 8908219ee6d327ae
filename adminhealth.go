package truelayer

import "net/http"

// health is the answer of the addresses for probes.
type health struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// serveLive answers as long as Caddy does.
func serveLive(w http.ResponseWriter, _ *http.Request) error {
	return answerAdmin(w, health{Status: "live"})
}

// serveReady tells whether a configuration with the module is loaded and the stores
// answer a read. With a store that does not, requests of visitors fail.
func serveReady(w http.ResponseWriter, r *http.Request) error {
	blocks, err := latestBlocks("")
	if err != nil {
		return err
	}
	if len(blocks) == 0 {
		return answerNotReady(w, "no configuration with a truelayer block is loaded")
	}
	for _, h := range blocks {
		if err := readNothing(r.Context(), h.sessions.Store); err != nil {
			return answerNotReady(w, "the store "+storeName(h.store, h.storeType())+" of "+h.sessions.Site+" does not answer: "+err.Error())
		}
	}
	return answerAdmin(w, health{Status: "ready"})
}

func answerNotReady(w http.ResponseWriter, reason string) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	return answerAdmin(w, health{Status: "not ready", Reason: reason})
}
