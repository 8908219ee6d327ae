package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Settings are the knobs of a service that works. For one that does not, see
// Fault.
type Settings struct {
	// TokenLifetime is how long an access token is valid; an hour by default.
	TokenLifetime time.Duration `json:"token_lifetime"`

	// ConsentLifetime is how long a new connection may be used; 90 days by default.
	ConsentLifetime time.Duration `json:"consent_lifetime"`

	// RefreshIdle is how long a refresh token may lie unused; 30 days by default.
	RefreshIdle time.Duration `json:"refresh_idle"`

	// ClockSkew is how far the service's clock runs ahead of Config.Now.
	ClockSkew time.Duration `json:"clock_skew"`

	// RefreshTokens says who gets one: "auto" (the default) whoever asked for
	// offline_access, "always" or "never".
	RefreshTokens string `json:"refresh_tokens"`

	// Rotate replaces the refresh token at each use. Using an old one again
	// then ends the connection.
	Rotate bool `json:"rotate"`

	// OnlyLatestToken makes the API refuse every access token of a connection
	// but the last one issued.
	OnlyLatestToken bool `json:"only_latest_token"`

	// GrantedScope is the scope that the token endpoint names and grants; empty
	// is what was asked for. "-" grants that too, but does not name it.
	GrantedScope string `json:"granted_scope"`

	// Cancelled says what a user who cancels brings back: "error" (the default)
	// the error access_denied and the state, "no_state" the error alone, as with
	// a cancellation URI that ends in ?error=access_denied, and "nothing" no
	// parameter at all, as where the Console has none in that URI.
	Cancelled string `json:"cancelled"`

	// CheapSignatures puts a checksum of the right length where the RSA
	// signature belongs. The simulator accepts such tokens, the JWKS cannot
	// verify them. It is for measuring a client beside the simulator on one
	// machine, where signing would be most of what is measured.
	CheapSignatures bool `json:"cheap_signatures"`
}

func defaultSettings() Settings {
	return Settings{
		TokenLifetime:   time.Hour,
		ConsentLifetime: 90 * 24 * time.Hour,
		RefreshIdle:     30 * 24 * time.Hour,
		RefreshTokens:   "auto",
		Cancelled:       "error",
	}
}

// Set changes the settings. They hold for what happens from then on: a
// connection keeps the end of consent it began with. The function must not
// call the simulator.
func (s *Simulator) Set(change func(*Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.settings)
}

func (s *Settings) check() error {
	if s.TokenLifetime <= 0 || s.ConsentLifetime <= 0 || s.RefreshIdle <= 0 {
		return fmt.Errorf("token_lifetime, consent_lifetime and refresh_idle: give positive durations")
	}
	if !slices.Contains([]string{"auto", "always", "never"}, s.RefreshTokens) {
		return fmt.Errorf("refresh_tokens %q: give auto, always or never", s.RefreshTokens)
	}
	if !slices.Contains([]string{"error", "no_state", "nothing"}, s.Cancelled) {
		return fmt.Errorf("cancelled %q: give error, no_state or nothing", s.Cancelled)
	}
	return nil
}

// wireSettings writes the durations as Go strings; its fields hide the ones of
// the same name beneath.
type wireSettings struct {
	*plainSettings
	TokenLifetime   duration `json:"token_lifetime"`
	ConsentLifetime duration `json:"consent_lifetime"`
	RefreshIdle     duration `json:"refresh_idle"`
	ClockSkew       duration `json:"clock_skew"`
}

type plainSettings Settings

func (s *Settings) wire() wireSettings {
	return wireSettings{
		(*plainSettings)(s), duration(s.TokenLifetime), duration(s.ConsentLifetime),
		duration(s.RefreshIdle), duration(s.ClockSkew),
	}
}

func (w wireSettings) settings() Settings {
	s := Settings(*w.plainSettings)
	s.TokenLifetime = time.Duration(w.TokenLifetime)
	s.ConsentLifetime = time.Duration(w.ConsentLifetime)
	s.RefreshIdle = time.Duration(w.RefreshIdle)
	s.ClockSkew = time.Duration(w.ClockSkew)
	return s
}

// duration is a time.Duration that JSON spells as people do: "1h30m".
type duration time.Duration

func (d duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

func (d *duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf(`give a duration as a string such as "90s": %w`, err)
	}
	v, err := time.ParseDuration(text)
	*d = duration(v)
	return err
}

func (d duration) std() time.Duration { return time.Duration(d) }
