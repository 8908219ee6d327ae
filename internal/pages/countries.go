package pages

import "strings"

// countries are the names of the countries that TrueLayer has banks in, by the codes that
// it uses: those of ISO 3166, but "uk".
var countries = map[string]string{
	"at": "Austria", "be": "Belgium", "de": "Germany", "es": "Spain", "fi": "Finland", "fr": "France", "ie": "Ireland", "it": "Italy",
	"lt": "Lithuania", "nl": "Netherlands", "pl": "Poland", "pt": "Portugal", "se": "Sweden", "uk": "United Kingdom",
}

// CountryName returns the name of a country. A code that is not known is its own name.
func CountryName(code string) string {
	if name, ok := countries[code]; ok {
		return name
	}
	if code == "" {
		return "Other countries"
	}
	return strings.ToUpper(code)
}
