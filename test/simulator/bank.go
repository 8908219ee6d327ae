package simulator

import (
	"regexp"
	"slices"
	"strings"
)

// maxNamedBanks bounds the list of banks that an auth link can make up by naming
// them.
const maxNamedBanks = 50

var providerID = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+){0,9}$`)

// offered returns the banks that a providers parameter lets the user choose from:
// Mock, the banks of each group, and each bank that is named. If the simulator
// does not know a bank, it makes one up from the id, so a configuration for the
// real service works unchanged.
func offered(providers []string) []bank {
	if len(providers) == 0 {
		return banks
	}
	list := []bank{mock}
	add := func(b bank) {
		if !slices.ContainsFunc(list, func(known bank) bool { return known.ID == b.ID }) {
			list = append(list, b)
		}
	}
	for _, id := range providers {
		if country, kind, isGroup := group(id); isGroup {
			for _, b := range banks {
				if b.Country == country && strings.HasPrefix(b.ID, kind+"-") {
					add(b)
				}
			}
		} else if b, ok := named(id); ok && len(list) < maxNamedBanks {
			add(b)
		}
	}
	return list
}

// group splits the id of a group, such as uk-ob-all.
func group(id string) (country, kind string, ok bool) {
	parts := strings.Split(id, "-")
	if len(parts) != 3 || parts[2] != "all" {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// kinds are the prefixes of ids without a country.
var kinds = []string{"ob", "oauth", "polishapi", "stet", "xs2a"}

// named returns the bank with an id from a providers parameter. The id is one
// without a country, as in provider_id, or one with it, such as uk-ob-monzo.
func named(id string) (bank, bool) {
	if id == "uk-cs-mock" {
		return mock, true
	}
	if !providerID.MatchString(id) {
		return bank{}, false
	}
	first, rest, _ := strings.Cut(id, "-")
	if id == mock.ID || slices.Contains(kinds, first) && rest != "" {
		return byProviderID(id), true
	}
	if len(first) != 2 || rest == "" {
		return bank{}, false
	}
	b := byProviderID(rest)
	b.Country = first
	return b, true
}

// byProviderID returns the bank with an id without a country, which matches
// providerID. It makes up a bank that does not exist.
func byProviderID(id string) bank {
	for _, b := range banks {
		if b.ID == id {
			return b
		}
	}
	_, name, found := strings.Cut(id, "-")
	if !found {
		name = id
	}
	words := strings.Split(name, "-")
	for i, word := range words {
		words[i] = strings.ToUpper(word[:1]) + word[1:]
	}
	return bank{id, strings.Join(words, " "), "uk", "#4a4f63"}
}

// covers reports whether a providers parameter includes a provider_id. It must,
// except for Mock.
func covers(providers []string, id string) bool {
	if id == mock.ID {
		return true
	}
	for _, p := range providers {
		if _, kind, isGroup := group(p); isGroup {
			if strings.HasPrefix(id, kind+"-") {
				return true
			}
		} else if b, ok := named(p); ok && b.ID == id {
			return true
		}
	}
	return false
}
