package appenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"pegasus/base"
)

// Operation is one operation of user_specified_compaction: what becomes of a row that all
// its rules match.
type Operation struct {
	Kind  OperationKind
	Value uint32 // of ExpireFromNow and ExpireFromCurrent seconds; of ExpireAt Unix time
	Rules []RowRule
}

// OperationKind is what an operation does.
type OperationKind uint8

// The kinds of operations.
const (
	DeleteRow         OperationKind = iota
	ExpireFromNow                   // the row expires Value seconds from now
	ExpireFromCurrent               // the row's expiry is put off by Value seconds, if it has one
	ExpireAt                        // the row expires at Value
)

// RowRule is a condition on a row.
type RowRule struct {
	Kind    RuleKind
	Match   Match
	Pattern string // of the patterns; the empty one matches nothing
	From    uint32 // of TTLRange: the row expires From to To seconds from now;
	To      uint32 // both 0: also rows that never expire
}

// RuleKind says what a rule looks at.
type RuleKind uint8

// The kinds of rules.
const (
	HashKeyPattern RuleKind = iota
	SortKeyPattern
	TTLRange
)

// Match says where a pattern must be found.
type Match uint8

// The ways to match.
const (
	MatchAnywhere Match = iota
	MatchPrefix
	MatchPostfix
)

// Matches tells whether a rule on a pattern matches the key that it is about.
func (r *RowRule) Matches(key []byte) bool {
	if r.Pattern == "" || len(key) < len(r.Pattern) {
		return false
	}
	switch r.Match {
	case MatchPrefix:
		return string(key[:len(r.Pattern)]) == r.Pattern
	case MatchPostfix:
		return string(key[len(key)-len(r.Pattern):]) == r.Pattern
	}
	return strings.Contains(string(key), r.Pattern)
}

// ParseOperations reads the value of user_specified_compaction: upstream's JSON, in which
// the parameters of an operation and of a rule are strings that hold JSON again. The empty
// value is no operations. An error says what is wrong and wraps base.ErrInvalidParameters.
func ParseOperations(value string) ([]Operation, error) {
	if value == "" {
		return nil, nil
	}
	var all struct {
		Ops *[]struct {
			Type, Params string
			Rules        []struct{ Type, Params string }
		}
	}
	if err := json.Unmarshal([]byte(value), &all); err != nil {
		return nil, fmt.Errorf("the value is not the JSON of operations: %s: %w", whatIsWrong(err), base.ErrInvalidParameters)
	}
	if all.Ops == nil {
		return nil, fmt.Errorf("field ops is missing: %w", base.ErrInvalidParameters)
	}
	ops := make([]Operation, 0, len(*all.Ops))
	for i, o := range *all.Ops {
		op, err := parseOperation(o.Type, o.Params)
		if err != nil {
			return nil, fmt.Errorf("operation %d: %w", i+1, err)
		}
		if len(o.Rules) == 0 {
			return nil, fmt.Errorf("operation %d has no rules: %w", i+1, base.ErrInvalidParameters)
		}
		for k, r := range o.Rules {
			rule, err := parseRule(r.Type, r.Params)
			if err != nil {
				return nil, fmt.Errorf("operation %d, rule %d: %w", i+1, k+1, err)
			}
			op.Rules = append(op.Rules, rule)
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func parseOperation(kind, params string) (op Operation, err error) {
	switch kind {
	case "COT_DELETE":
		return op, nil // its parameters are not looked at
	case "COT_UPDATE_TTL":
	default:
		return op, fmt.Errorf("type %q is not COT_DELETE or COT_UPDATE_TTL: %w", kind, base.ErrInvalidParameters)
	}
	var p struct {
		Type  string
		Value *uint32
	}
	if err := json.Unmarshal([]byte(params), &p); err != nil {
		return op, fmt.Errorf("params %q: %s: %w", params, whatIsWrong(err), base.ErrInvalidParameters)
	}
	switch p.Type {
	case "UTOT_FROM_NOW":
		op.Kind = ExpireFromNow
	case "UTOT_FROM_CURRENT":
		op.Kind = ExpireFromCurrent
	case "UTOT_TIMESTAMP":
		op.Kind = ExpireAt
	default:
		return op, fmt.Errorf("params %q: type is not UTOT_FROM_NOW, UTOT_FROM_CURRENT or UTOT_TIMESTAMP: %w", params, base.ErrInvalidParameters)
	}
	switch {
	case p.Value == nil:
		return op, fmt.Errorf("params %q: value is missing: %w", params, base.ErrInvalidParameters)
	case op.Kind == ExpireAt && int64(*p.Value) <= base.EpochBegin:
		return op, fmt.Errorf("params %q: value is before %d, the first time that rows can expire at: %w", params, base.EpochBegin+1, base.ErrInvalidParameters)
	}
	op.Value = *p.Value
	return op, nil
}

func parseRule(kind, params string) (r RowRule, err error) {
	switch kind {
	case "FRT_HASHKEY_PATTERN":
	case "FRT_SORTKEY_PATTERN":
		r.Kind = SortKeyPattern
	case "FRT_TTL_RANGE":
		r.Kind = TTLRange
	default:
		return r, fmt.Errorf("type %q is not FRT_HASHKEY_PATTERN, FRT_SORTKEY_PATTERN or FRT_TTL_RANGE: %w", kind, base.ErrInvalidParameters)
	}
	var p struct {
		Pattern   *string
		MatchType string  `json:"match_type"`
		StartTTL  *uint32 `json:"start_ttl"`
		StopTTL   *uint32 `json:"stop_ttl"`
	}
	if err := json.Unmarshal([]byte(params), &p); err != nil {
		return r, fmt.Errorf("params %q: %s: %w", params, whatIsWrong(err), base.ErrInvalidParameters)
	}
	if r.Kind == TTLRange {
		if p.StartTTL == nil || p.StopTTL == nil {
			return r, fmt.Errorf("params %q: start_ttl or stop_ttl is missing: %w", params, base.ErrInvalidParameters)
		}
		r.From, r.To = *p.StartTTL, *p.StopTTL
		return r, nil
	}
	if p.Pattern == nil {
		return r, fmt.Errorf("params %q: pattern is missing: %w", params, base.ErrInvalidParameters)
	}
	r.Pattern = *p.Pattern
	switch p.MatchType {
	case "SMT_MATCH_ANYWHERE":
	case "SMT_MATCH_PREFIX":
		r.Match = MatchPrefix
	case "SMT_MATCH_POSTFIX":
		r.Match = MatchPostfix
	default:
		return r, fmt.Errorf("params %q: match_type is not SMT_MATCH_ANYWHERE, SMT_MATCH_PREFIX or SMT_MATCH_POSTFIX: %w", params, base.ErrInvalidParameters)
	}
	return r, nil
}

// whatIsWrong tells of an error of json without naming Go's types.
func whatIsWrong(err error) string {
	var e *json.UnmarshalTypeError
	if !errors.As(err, &e) {
		return err.Error()
	}
	if e.Field == "" {
		return "it can't be of type " + e.Value
	}
	return fmt.Sprintf("field %s can't be of type %s", strings.ToLower(e.Field), e.Value)
}

func checkOperations(value string) string {
	if _, err := ParseOperations(value); err != nil {
		return err.Error()
	}
	return ""
}
