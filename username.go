package truelayer

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxUserName  = 200
	maxUserEmail = 254 // as on the page; RFC 5321 section 4.5.3.1.3, without the brackets
)

// isUserName reports whether a text can be a person's name.
func isUserName(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxUserName && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// isUserEmail reports whether a text is an e-mail address and nothing else.
func isUserEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s && len(s) <= maxUserEmail && isUserName(s)
}
