// Package banks keeps the list of the banks that visitors can choose, and the banks'
// logos. Both come from TrueLayer. What comes from there is bounded, and nothing of it
// goes to a page unread.
package banks

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

var (
	// ErrUnknownBank is the error of an id that is not in the list of banks.
	ErrUnknownBank = errors.New("no bank in the list has this id")
	// ErrNoLogo is the error of a bank without a logo in the list, or with one at an
	// address from which logos are not fetched.
	ErrNoLogo = errors.New("the bank has no logo that may be fetched")
)

// Bank is a bank that visitors can choose.
type Bank struct {
	// ID is the value for provider_id, such as "ob-monzo": at most 64 of a-z, 0-9 and
	// "-".
	ID string
	// Name is never "". It has no control characters and none that change how the text
	// around it reads. It is text, which a page has to escape.
	Name string
	// Country is two letters, such as "uk", or "" if it is not known.
	Country string
	// Healthy is false if TrueLayer says that the bank's connection does not work.
	Healthy bool
	// Dialog says that visitors may have to enter text before the bank's own login.
	// Such a bank has to be reached by TrueLayer's dialog, since the text may be a
	// secret.
	Dialog bool
	// Steps are what visitors choose before the bank's own login, such as a branch.
	// There are none if Dialog is true.
	Steps []Step
	// HasLogo says that Logos may have a logo.
	HasLogo bool
}

const (
	// maxBanks is how many banks of a list are used. TrueLayer has a few hundred.
	maxBanks = 2000
	// maxID is the longest id.
	maxID = 64
)

// known is a list of banks in the form in which it is kept. It is not changed once it
// is made.
type known struct {
	banks []Bank            // by name
	logos map[string]string // the address of each bank's logo, "" for none
}

// logo returns the address of a bank's logo.
func (k known) logo(id string) (address string, err error) {
	address, ok := k.logos[id]
	switch {
	case !ok:
		return "", ErrUnknownBank
	case address == "":
		return "", ErrNoLogo
	}
	return address, nil
}

// read makes a list of what TrueLayer sent. The logos are those whose address is
// permitted. Banks with an id that cannot be used, or that an earlier one has, are left
// out.
func read(providers []tlapi.Provider, permitted func(address string) bool) known {
	list := known{logos: make(map[string]string)}
	for _, p := range providers {
		if _, seen := list.logos[p.ID]; seen || !isID(p.ID) {
			continue
		}
		if len(list.banks) == maxBanks {
			break
		}
		b := Bank{
			ID: p.ID, Name: cmp.Or(clean(p.Name, maxName), p.ID), Country: country(p.Country),
			Healthy: !strings.EqualFold(p.Status, "unhealthy"), // in words that are not known it works
			HasLogo: permitted(p.LogoURL),
		}
		var known bool
		b.Steps, known = readSteps(p)
		b.Dialog = !known
		list.logos[b.ID] = ""
		if b.HasLogo {
			list.logos[b.ID] = p.LogoURL
		}
		list.banks = append(list.banks, b)
	}
	slices.SortFunc(list.banks, func(a, b Bank) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func isID(id string) bool {
	return id != "" && len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool { return !isIDRune(r) })
}

func isIDRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-'
}

// country returns a country in the spelling of the providers option, which has "uk" for
// the United Kingdom.
func country(code string) string {
	code = strings.ToLower(code)
	if len(code) != 2 || strings.ContainsFunc(code, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return ""
	}
	if code == "gb" {
		return "uk"
	}
	return code
}
