package pages

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Bank is a bank that a visitor can choose.
type Bank struct {
	Name string
	// Link leads to the bank. Without it the bank cannot be chosen right now.
	Link string
	// Logo is the URL of the logo, or "".
	Logo string
	// Key is the name in the form in which it is searched for, see Fold.
	Key string
	// Hidden says that the visitor looks for another bank. A script may show it again.
	Hidden bool
}

// Banks is the content of the page on which a visitor chooses a bank.
type Banks struct {
	// Search is what the visitor looks for, and Country where, "" for everywhere. Address
	// and ReturnTo are where the search goes.
	Search, Country, Address, ReturnTo string
	// Countries lead to the banks of one country each. There are none if all banks are in
	// one.
	Countries []Country
	// Last is the bank that this browser connected last, or nil.
	Last *Bank
	// Groups are the banks, by country.
	Groups []BankGroup
	// Other leads to TrueLayer's own dialog.
	Other string
	// Home is the URL of the site's home page, or "".
	Home string
}

// Country is a country with banks.
type Country struct {
	Name, Link string
	// Chosen says that only this country's banks are shown.
	Chosen bool
}

// BankGroup is the banks of one country. Name is "" if there is one country only.
type BankGroup struct {
	Name, Country string
	Banks         []Bank
}

// Hidden reports whether no bank of the group is shown.
func (g *BankGroup) Hidden() bool {
	return !slices.ContainsFunc(g.Banks, func(b Bank) bool { return !b.Hidden })
}

// Found reports whether a bank is shown.
func (p *Banks) Found() bool {
	return slices.ContainsFunc(p.Groups, func(g BankGroup) bool { return !g.Hidden() })
}

// Fold returns a text in the form in which banks are searched for and sorted: in lower
// case, without accents, with single spaces. The script of the page does the same.
func Fold(s string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(strings.ToLower(s)) {
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Key names the page's text.
func (p *Banks) Key() string {
	if len(p.Groups) == 0 {
		return "no_banks"
	}
	return "banks"
}

func (p *Banks) template() string { return "banks" }

// policy allows the page its search, and its script, by its digest.
func (p *Banks) policy() string {
	return "; form-action 'self'; script-src " + hashSource(filterScript) + notFramed
}
