package simulator

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// account is one of a person's accounts at a bank.
type account struct {
	ID       string
	Name     string
	Kind     string // as in the Verification API
	Currency string
	Number   string
	SortCode string
	IBAN     string
	BIC      string
}

const (
	kindCurrent = "CURRENT"
	kindSavings = "SAVINGS"
	kindCard    = "CREDIT_CARD"
)

// accountsOf returns the accounts of a person at a bank. They are the same at every
// login.
func accountsOf(p person, b bank) []account {
	var list []account
	if !p.cardOnly {
		list = append(list,
			cashAccount(p, b, kindCurrent, "Current account", 1),
			cashAccount(p, b, kindSavings, "Rainy day savings", 2))
	}
	return append(list, account{
		ID: accountID(p, b, kindCard), Name: "Gold card", Kind: kindCard,
		Currency: "GBP", Number: fmt.Sprintf("%04d", 9000+p.number),
	})
}

// cashAccount returns an account with invented numbers. They have the right form
// and checksum, but bank codes that no bank has.
func cashAccount(p person, b bank, kind, name string, n int) account {
	a := account{ID: accountID(p, b, kind), Name: name, Kind: kind}
	bankCode := bicOf(b)
	if p.iban {
		a.Currency, a.BIC = "EUR", bankCode+"DE21"
		a.IBAN = iban("DE", fmt.Sprintf("00000000%010d", 4_000_000+p.number*10+n))
		return a
	}
	a.Currency, a.BIC = "GBP", bankCode+"GB21"
	a.Number = fmt.Sprintf("%08d", 10_000_000+p.number*10+n)
	a.SortCode = fmt.Sprintf("00-00-%02d", n)
	a.IBAN = iban("GB", bankCode+strings.ReplaceAll(a.SortCode, "-", "")+a.Number)
	return a
}

func accountID(p person, b bank, kind string) string {
	sum := sha256.Sum256([]byte(b.ID + "|" + p.user + "|" + kind))
	return lowerHex(sum[:16])
}

// bicOf returns a BIC's four-letter bank code, made from the bank's name.
func bicOf(b bank) string {
	letters := strings.Map(func(r rune) rune {
		if r < 'A' || r > 'Z' {
			return -1
		}
		return r
	}, strings.ToUpper(b.Name))
	return (letters + "XXXX")[:4]
}

// iban returns an IBAN: the country, check digits, and the national number of an
// account. With country and check digits moved to the end, and each letter replaced
// by a number (A by 10, B by 11 and so on), it equals 1 modulo 97.
func iban(country, national string) string {
	var digits strings.Builder
	for _, r := range national + country + "00" {
		if r >= 'A' {
			fmt.Fprint(&digits, r-'A'+10)
		} else {
			digits.WriteRune(r)
		}
	}
	n, _ := new(big.Int).SetString(digits.String(), 10)
	check := 98 - n.Mod(n, big.NewInt(97)).Int64()
	return fmt.Sprintf("%s%02d%s", country, check, national)
}

// Last returns the last four digits of the number, which the pages show.
func (a account) Last() string {
	number := a.Number
	if number == "" {
		number = a.IBAN
	}
	return number[len(number)-4:]
}

// chosen returns the accounts with the given ids.
func chosen(list []account, ids []string) []account {
	return slices.DeleteFunc(list, func(a account) bool { return !slices.Contains(ids, a.ID) })
}
