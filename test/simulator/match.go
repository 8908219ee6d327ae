package simulator

import (
	"slices"
	"strings"
	"unicode"
)

// verifiedFrom is the lowest score at which two names count as the same.
const verifiedFrom = 80

// matchScore returns how similar two names are, from 0 to 100. Case, punctuation,
// spaces and the order of the words do not matter. TrueLayer's own measure is not
// public. This one is simple and deterministic.
func matchScore(a, b string) int {
	x, y := words(a), words(b)
	longest := max(len(x), len(y))
	if longest == 0 {
		return 0
	}
	return 100 * (longest - distance(x, y)) / longest
}

// words returns the words of a name in lower case, sorted.
func words(name string) []rune {
	list := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
	slices.Sort(list)
	return []rune(strings.Join(list, " "))
}

// distance returns the Levenshtein distance: how many letters to insert, delete or
// replace.
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			replace := diagonal
			if x != y {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
