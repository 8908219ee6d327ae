package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Settings configure how the simulator behaves when it works. To make it fail, see
// Fault.
type Settings struct {
	// TokenLifetime is how long an access token is valid. The default is an hour.
	TokenLifetime time.Duration `json:"token_lifetime"`

	// ConsentLifetime is how long a new connection can be used. The default is 90
	// days.
	ConsentLifetime time.Duration `json:"consent_lifetime"`

	// RefreshIdle is how long a refresh token stays valid without being used. The
	// default is 30 days.
	RefreshIdle time.Duration `json:"refresh_idle"`

	// ClockSkew is how far the service's clock is ahead of Config.Now. It shows in the
	// field Date as well.
	ClockSkew time.Duration `json:"clock_skew"`

	// RefreshTokens says which connections get a refresh token: "auto" (the
	// default) means those with the scope offline_access. The others are "always"
	// and "never".
	RefreshTokens string `json:"refresh_tokens"`

	// Rotate replaces the refresh token at each use. Using an old one again then
	// ends the connection.
	Rotate bool `json:"rotate"`

	// OnlyLatestToken makes the API refuse all access tokens of a connection
	// except the last one.
	OnlyLatestToken bool `json:"only_latest_token"`

	// GrantedScope is the scope that the token endpoint grants and names in its
	// answer. If it is empty, that is the requested scope. "-" grants the requested
	// scope without naming it.
	GrantedScope string `json:"granted_scope"`

	// Cancelled says which parameters a user who cancels brings back. "error" (the
	// default) means the error access_denied and the state. "no_state" means the
	// error alone, as with a cancellation URI in the Console that ends in
	// ?error=access_denied. "nothing" means none, as with a cancellation URI that
	// has no parameters.
	Cancelled string `json:"cancelled"`

	// Refused says how a wrong auth link is refused. "page" (the default) means a page
	// with status 400. "redirect" means a redirect to such a page at the path /error,
	// as clients have seen it at TrueLayer.
	Refused string `json:"refused"`

	// ReauthOther gives the connection after a reauthentication another subject, as if
	// the user had several identities at the bank. By default it has the same one,
	// unless another user logs in at the bank.
	ReauthOther bool `json:"reauth_other"`

	// Unhealthy are the providers whose recommended status is not healthy. The
	// default is ob-tidewater.
	Unhealthy []string `json:"unhealthy"`

	// CheapSignatures replaces the RSA signature by a checksum of the same length.
	// The simulator accepts such tokens, but they cannot be verified with the JWKS.
	// It is for benchmarks of a client on the same machine, which would otherwise
	// mostly measure signing.
	CheapSignatures bool `json:"cheap_signatures"`
}

func defaultSettings() Settings {
	return Settings{
		TokenLifetime:   time.Hour,
		ConsentLifetime: 90 * 24 * time.Hour,
		RefreshIdle:     30 * 24 * time.Hour,
		RefreshTokens:   "auto",
		Cancelled:       "error",
		Refused:         "page",
		Unhealthy:       []string{unhealthyBank},
	}
}

// Set changes the settings. The change affects only what happens afterwards: the
// consent of an existing connection ends when it would have ended. The function
// must not call the simulator.
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
	if !slices.Contains([]string{"page", "redirect"}, s.Refused) {
		return fmt.Errorf("refused %q: give page or redirect", s.Refused)
	}
	return nil
}

// wireSettings is Settings in JSON, with durations as strings. Its fields hide the
// embedded ones with the same names.
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

// duration is a time.Duration that is a string in JSON, such as "1h30m".
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
