package pages

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// ConsentText is the text to which a visitor consents. The page shows it as it is, and
// nothing on it is of one visitor or one bank.
type ConsentText struct {
	// Language is the language of the text, as in BCP 47.
	Language string
	Sections []ConsentSection
	// ReadOnly says that each scope is known, and lets nobody move money.
	ReadOnly bool
}

// ConsentSection is a part of a ConsentText.
type ConsentSection struct {
	Heading string
	// Text may be "". Link is a URL that follows it, or "".
	Text, Link string
	// Items are a list.
	Items []string
}

// NewConsentText returns the text for a site. The controller is who gets the data, and
// purpose what for, in a sentence. endsAtLogout says that who signs out ends the
// connection at TrueLayer.
func NewConsentText(controller, purpose, termsURL string, scopes []string, endsAtLogout bool) ConsentText {
	section := func(key string, values ...any) ConsentSection {
		text := TextOf("consent_" + key)
		return ConsentSection{Heading: text.Title, Text: fmt.Sprintf(text.Text, values...)}
	}
	data, duration, known := section("data"), section("duration"), true
	for _, scope := range scopes {
		text := TextOf("scope_" + scope).Text
		switch {
		case scope == "offline_access":
			duration.Text += " " + TextOf("consent_offline").Text
			continue
		case text == "":
			text, known = fmt.Sprintf(TextOf("scope_unknown").Text, scope), false
		}
		data.Items = append(data.Items, text)
	}
	withdrawal := section("withdrawal", controller)
	if endsAtLogout {
		withdrawal.Text += " " + TextOf("consent_logout").Text
	}
	terms := section("terms", controller)
	terms.Link = termsURL
	return ConsentText{"en", []ConsentSection{data, section("recipient", controller), section("purpose", purpose), duration, withdrawal, terms}, known}
}

// String returns the text without its layout: a line for each heading, each paragraph and
// each item. This is what TrueLayer is told.
func (t ConsentText) String() string {
	var lines []string
	for _, s := range t.Sections {
		lines = append(lines, s.Heading)
		if text := strings.TrimSpace(s.Text + " " + s.Link); text != "" {
			lines = append(lines, text)
		}
		lines = append(lines, s.Items...)
	}
	return strings.Join(lines, "\n")
}

// Digest returns the SHA-256 of String, hexadecimal.
func (t ConsentText) Digest() string {
	digest := sha256.Sum256([]byte(t.String()))
	return hex.EncodeToString(digest[:])
}
