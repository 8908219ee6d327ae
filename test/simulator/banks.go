package simulator

import (
	"strings"
	"unicode/utf8"
)

// bank is a provider. The names are invented, except for Mock, which TrueLayer's
// sandbox has too.
type bank struct {
	ID      string // as in provider_id
	Name    string
	Country string
	Tone    string // the colour of its pages
}

// banks are the providers that there are. Those with something special: Tidewater
// is unhealthy unless Settings say otherwise, Cobalt has a logo in PNG, and
// inputSteps has what some need to know.
var banks = []bank{
	{"mock", "Mock", "uk", "#1f4e8c"},
	{"ob-harbour", "Harbour Bank", "uk", "#0b6b62"},
	{"ob-harbour-business", "Harbour Bank Business", "uk", "#084c46"},
	{"ob-kestrel", "Kestrel", "uk", "#8a2b52"},
	{"ob-alder", "Alder Bank", "uk", "#4b6b1a"},
	{"ob-foundry", "Foundry", "uk", "#5c3b1e"},
	{"ob-quill", "Quill & Co", "uk", "#3b3f6b"},
	{unhealthyBank, "Tidewater", "uk", "#145a7a"},
	{"oauth-northfield", "Northfield Building Society", "uk", "#3d5a1e"},
	{"oauth-brightwell", "Brightwell", "uk", "#9a5b00"},
	{bankWithPNG, "Cobalt Cards", "uk", "#0047ab"},
	{"ob-shannon", "Shannon Trust", "ie", "#115e3b"},
	{"ob-liffey", "Bank of Liffey", "ie", "#1d4f91"},
	{"ob-corrib", "Corrib", "ie", "#5a2d82"},
	{"oauth-clover", "Clover Credit Union", "ie", "#2e7d32"},
	{"stet-rivage", "Banque Rivage", "fr", "#2c3f94"},
	{"stet-mutuelle-lavande", "Mutuelle Lavande", "fr", "#6a3d9a"},
	{"stet-eclat", "Éclat Banque", "fr", "#a3195b"},
	{"ob-mistral", "Mistral", "fr", "#00695c"},
	{"xs2a-lindenbank", "Lindenbank", "de", "#7a3b12"},
	{"xs2a-sparverein", "Sparverein Nord", "de", "#b71c1c"},
	{"xs2a-nordlicht", "Nordlicht Bank", "de", "#004d66"},
	{"xs2a-falkenstein", "Falkenstein & Söhne", "de", "#3e2723"},
	{"ob-kiesel", "Kiesel", "de", "#455a64"},
	{"xs2a-banco-olmo", "Banco Olmo", "es", "#8b1e1e"},
	{"xs2a-caja-encina", "Caja Encina", "es", "#4e6b1f"},
	{"xs2a-ribera", "Ribera", "es", "#01579b"},
	{"ob-faro", "Banco Faro", "es", "#bf360c"},
	{"xs2a-cipresso", "Banca Cipresso", "it", "#1b5e20"},
	{"polishapi-bursztyn", "Bank Bursztyn", "pl", "#8d5a00"},
}

const (
	unhealthyBank = "ob-tidewater"
	bankWithPNG   = "oauth-cobalt"
)

// mock is the bank that is always offered.
var mock = banks[0]

// Initial returns the letter in a bank's logo.
func (b bank) Initial() string {
	_, size := utf8.DecodeRuneInString(b.Name)
	return b.Name[:size]
}

// scopes returns the scopes of the bank as /api/providers lists them. Banks that
// are reached in one of the ways of the continent show no cards or payments.
func (b bank) scopes() []string {
	switch kind, _, _ := strings.Cut(b.ID, "-"); kind {
	case "polishapi", "stet", "xs2a":
		return continentalScopes
	}
	return providerScopes
}

// input is something that a bank needs to know before a link to it can be made, as
// /api/providers lists it.
type input struct {
	Type        string   `json:"type"`
	ID          string   `json:"id"`
	Name        string   `json:"display_name"`
	Help        string   `json:"help_text"`
	Mandatory   bool     `json:"mandatory"`
	Sensitive   bool     `json:"is_sensitive,omitempty"`
	Values      []choice `json:"values,omitempty"`
	Validations []string `json:"validations,omitempty"`
	Characters  string   `json:"allowed_characters,omitempty"`
}

type choice struct {
	Value string `json:"value"`
	Name  string `json:"display_name"`
}

// inputStep is a group of inputs. TrueLayer's example of a provider has its steps
// in this form. Its schema has the inputs themselves as the steps, which is how a
// step without a title is listed.
type inputStep struct {
	Title  string  `json:"title"`
	Fields []input `json:"fields"`
}

// The types of inputs. TrueLayer's documents have the name of the first in an
// example. Those of free text they do not name, so it is made up.
const (
	singleChoice = "SingleChoiceField"
	freeText     = "FreeTextField"
)

// inputSteps has what banks need to know, by their id.
var inputSteps = map[string]inputStep{
	"stet-mutuelle-lavande": {"OAuthRedirect", []input{{
		Type: singleChoice, ID: "branch-name", Name: "Branch name", Help: "Choose your branch", Mandatory: true,
		Values: []choice{
			{"stet-mutuelle-lavande-luberon", "Mutuelle Lavande du Luberon"},
			{"stet-mutuelle-lavande-valensole", "Mutuelle Lavande de Valensole"},
			{"stet-mutuelle-lavande-drome", "Mutuelle Lavande de la Drôme"},
		},
	}}},
	"xs2a-sparverein": {"", []input{
		{
			Type: singleChoice, ID: "customer-kind", Name: "Kind of customer", Help: "Choose how you use the bank", Mandatory: true,
			Values: []choice{{"private", "Private"}, {"business", "Business"}},
		},
		{
			Type: singleChoice, ID: "bank-language", Name: "Language", Help: "Choose the language of the bank's pages",
			Values: []choice{{"de", "Deutsch"}, {"en", "English"}},
		},
	}},
	"xs2a-nordlicht": {"CustomerNumber", []input{{
		Type: freeText, ID: "customer-number", Name: "Customer number", Help: "It is on every statement", Mandatory: true,
		Validations: []string{"^[0-9]{6,10}$"}, Characters: "numeric",
	}}},
	"xs2a-falkenstein": {"Credentials", []input{{
		Type: freeText, ID: "access-pin", Name: "PIN", Help: "The PIN of your online banking", Mandatory: true, Sensitive: true,
		Characters: "alphanumeric",
	}}},
}
