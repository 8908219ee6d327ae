package simulator

import (
	"strconv"
	"strings"
)

// person is a customer of the mock banks.
type person struct {
	user     string
	name     string
	partner  string // who holds the accounts as well, "" if nobody does
	number   int
	iban     bool   // has accounts with an IBAN and no sort code
	cardOnly bool   // has no account that the Verification API can verify
	failure  string // the error of every API call for this person
}

var (
	firstNames = [...]string{"John", "Jane", "Amina", "Oliver", "Priya", "George", "Sofia", "Liam", "Wei", "Chloe"}
	lastNames  = [...]string{
		"Doe", "Carter", "Okafor", "Hughes", "Patel", "Novak", "Murphy", "Silva", "Walker", "Khan", "Bennett",
	}
)

// loginFailures maps user names to the error that a login with them causes.
var loginFailures = map[string]string{
	"error.account_permanently_locked": "This account is locked for good. Please visit a branch with proof of identity.",
	"error.account_temporarily_locked": "This account is locked for 30 minutes after too many attempts.",
	"error.internal_error":             "Something failed on our side. Your account is not affected.",
	"error.provider_error":             "Online banking is down for maintenance. Please come back later.",
	"error.user_input_required":        "There is a message waiting for you. Please confirm it in the bank's own app first.",
	"error.wrong_credentials":          wrongLogin,
}

const wrongLogin = "User name or password is wrong. Please try again."

// signIn is the bank's login. It returns the person, or a text that says why the
// login failed. With the password "error" the login succeeds and later API calls
// fail.
func signIn(user, password string) (person, string) {
	user = strings.ToLower(strings.TrimSpace(user))
	if text, fails := loginFailures[user]; fails {
		if password != "error" {
			return person{}, text
		}
		return person{user: user, name: "Erin Fault", failure: strings.TrimPrefix(user, "error.")}, ""
	}
	if user == "card" && password == "doe" {
		return person{user: user, name: "Carol Deck", number: 101, cardOnly: true}, ""
	}
	if user == "joint" && password == "doe" {
		return person{user: user, name: "Rosa Deck", partner: "Hugo Deck", number: 102}, ""
	}
	number, ok := mockNumber(user)
	if !ok {
		return person{}, wrongLogin
	}
	p := person{user: user, number: number, name: mockName(number)}
	suffix := strings.TrimPrefix(user, "john")
	switch password {
	case "doe" + suffix:
	case "iban" + suffix:
		p.iban = true
	case "error":
		p.failure = "provider_error"
	default:
		return person{}, wrongLogin
	}
	return p, ""
}

// mockNumber returns the number of a mock user: 0 for john, and 1 to 100 for john1
// to john100.
func mockNumber(user string) (int, bool) {
	digits, ok := strings.CutPrefix(user, "john")
	if !ok || digits == "" {
		return 0, ok
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 1 && n <= 100 && strconv.Itoa(n) == digits
}

// mockName returns the name of a mock user. Each has a different one, and john is
// John Doe.
func mockName(number int) string {
	return firstNames[number%len(firstNames)] + " " + lastNames[number/len(firstNames)]
}

// holders are the names of those who hold a person's accounts.
func (p person) holders() []string {
	if p.partner == "" {
		return []string{p.name}
	}
	return []string{p.name, p.partner}
}
