package banks

import "strings"

// Coverage says whether a list of providers has a bank in it.
type Coverage int

const (
	// No means that the list does not have the bank: TrueLayer refuses a link to it.
	No Coverage = iota
	// Unknown means that a group may have the bank. Nobody but TrueLayer knows.
	Unknown
	// Yes means that the list has the bank.
	Yes
)

// Covers reports whether a providers option has a bank in it. Its members are the ids of
// banks, with their country before them or without it, and groups. The members of two
// groups are known; those of any other group are some banks of its country. A bank of
// an unknown country may be in the groups of each. Without members TrueLayer decides.
func Covers(providers []string, b Bank) Coverage {
	if len(providers) == 0 {
		return Unknown
	}
	covered := No
	for _, member := range providers {
		covered = max(covered, covers(member, b))
	}
	return covered
}

func covers(member string, b Bank) Coverage {
	if b.ID == "" {
		return No
	}
	if member == b.ID {
		return Yes
	}
	of, rest, ok := strings.Cut(member, "-")
	if !ok || b.Country != "" && len(of) == 2 && of != b.Country {
		return No
	}
	switch {
	case len(of) != 2: // in a form that is not known
		return unknownIf(strings.HasSuffix(member, "-all") || strings.HasSuffix(member, "-"+b.ID))
	case rest == b.ID, rest == "cs-"+b.ID: // such as uk-cs-mock for mock
		return Yes
	case member == "uk-ob-all", member == "uk-oauth-all":
		if !strings.HasPrefix(b.ID, strings.TrimSuffix(rest, "all")) {
			return No
		}
		if b.Country == "" {
			return Unknown
		}
		return Yes
	}
	return unknownIf(strings.HasSuffix(rest, "-all") || rest == "all" || strings.HasSuffix(rest, "-"+b.ID))
}

func unknownIf(may bool) Coverage {
	if may {
		return Unknown
	}
	return No
}
