package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
)

// This file has the endpoints through which other processes control the
// simulator. They need no password, since the simulator has no real data. They
// accept only JSON, so that a form on a web page that the developer visits cannot
// use them.

func (s *Simulator) serveSettings(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	settings := s.settings
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, settings.wire())
}

// changeSettings changes the settings that the body names.
func (s *Simulator) changeSettings(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	settings := s.settings
	s.mu.Unlock()
	// The decoder writes into the array that it finds, and requests may read that.
	settings.Unhealthy = slices.Clone(settings.Unhealthy)
	wire := settings.wire()
	err := readJSON(w, r, &wire)
	if err == nil {
		settings = wire.settings()
		err = settings.check()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.Set(func(present *Settings) { *present = settings })
	s.serveSettings(w, r)
}

// wireFault is a Fault in JSON. It has no Hold, which is a Go channel.
type wireFault struct {
	Endpoint    string      `json:"endpoint"`
	Times       int         `json:"times"`
	Rate        float64     `json:"rate"`
	Delay       duration    `json:"delay"`
	Status      int         `json:"status"`
	Header      http.Header `json:"header"`
	ContentType string      `json:"content_type"`
	Body        string      `json:"body"`
	Truncate    bool        `json:"truncate"`
	Huge        bool        `json:"huge"`
	DropBefore  bool        `json:"drop_before"`
	DropAfter   bool        `json:"drop_after"`
}

func (s *Simulator) addFault(w http.ResponseWriter, r *http.Request) {
	var f wireFault
	err := readJSON(w, r, &f)
	switch {
	case err != nil:
	case !slices.Contains(endpoints, f.Endpoint):
		err = fmt.Errorf("endpoint %q: give one of %q", f.Endpoint, endpoints)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		err = fmt.Errorf("status %d: give one from 200 to 599", f.Status)
	case f.Times < 0 || f.Rate < 0 || f.Rate > 1 || f.Delay < 0:
		err = fmt.Errorf("times, rate and delay: give none below 0, and a rate of at most 1")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.Fail(f.Endpoint, Fault{
		Times: f.Times, Rate: f.Rate, Delay: f.Delay.std(), Status: f.Status, Header: f.Header,
		ContentType: f.ContentType, Body: f.Body, Truncate: f.Truncate, Huge: f.Huge,
		DropBefore: f.DropBefore, DropAfter: f.DropAfter,
	})
	w.WriteHeader(http.StatusNoContent)
}

func (s *Simulator) dropFaults(w http.ResponseWriter, _ *http.Request) {
	s.ClearFaults()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Simulator) revoke(w http.ResponseWriter, _ *http.Request) {
	s.RevokeConsents()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Simulator) serveCalls(w http.ResponseWriter, _ *http.Request) {
	calls, grants := s.record.counts()
	counted := make(map[string]any, len(endpoints)+1)
	for _, name := range endpoints {
		counted[name] = calls[name]
	}
	counted["grants"] = map[string]int{grantCode: grants[grantCode], grantRefresh: grants[grantRefresh]}
	writeJSON(w, http.StatusOK, counted)
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/json" {
		return fmt.Errorf("Content-Type %q: send application/json", mediaType)
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("read the JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("send one JSON object and nothing after it")
	}
	return nil
}
