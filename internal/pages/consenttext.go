package pages

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
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

// ConsentText returns the text for a site. The controller is who gets the data, and
// purpose what for, in a sentence. endsAtLogout says that who signs out ends the
// connection at TrueLayer.
func (l *Language) ConsentText(controller, purpose, termsURL string, scopes []string, endsAtLogout bool) ConsentText {
	section := func(key string, values ...any) ConsentSection {
		return ConsentSection{Heading: l.Text("consent_" + key).Title, Text: l.Say("consent_"+key, values...)}
	}
	duration := section("duration")
	if slices.Contains(scopes, "offline_access") {
		duration.Text += " " + l.Say("consent_offline")
	}
	withdrawal := section("withdrawal", controller)
	if endsAtLogout {
		withdrawal.Text += " " + l.Say("consent_logout")
	}
	data := section("data")
	items, known := l.scopes(scopes)
	data.Items = items
	terms := section("terms", controller)
	terms.Link = termsURL
	return ConsentText{l.Tag, []ConsentSection{data, section("recipient", controller), section("purpose", purpose), duration, withdrawal, terms}, known}
}

// Shared returns what a bank shares, in words.
func (l *Language) Shared(scopes []string) []string {
	items, _ := l.scopes(scopes)
	return items
}

// scopes returns what a bank shares, in words, and whether each scope is known.
func (l *Language) scopes(scopes []string) (items []string, known bool) {
	known = true
	for _, scope := range scopes {
		text := l.Say("scope_" + scope)
		switch {
		case scope == "offline_access":
			continue
		case text == "":
			text, known = l.Say("scope_unknown", scope), false
		}
		items = append(items, text)
	}
	return items, known
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
