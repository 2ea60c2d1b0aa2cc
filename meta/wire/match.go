package wire

import (
	"strings"

	"pegasus/gen/utils"
)

// MatchName tells whether a name is meant by a pattern; known is false for a type that nobody knows.
func MatchName(name, pattern string, t utils.PatternMatchType) (ok, known bool) {
	switch t {
	case utils.PMT_MATCH_ALL:
		return true, true
	case utils.PMT_MATCH_EXACT:
		return name == pattern, true
	case utils.PMT_MATCH_ANYWHERE:
		return strings.Contains(name, pattern), true
	case utils.PMT_MATCH_PREFIX:
		return strings.HasPrefix(name, pattern), true
	case utils.PMT_MATCH_POSTFIX:
		return strings.HasSuffix(name, pattern), true
	}
	return false, false
}
