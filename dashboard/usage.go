package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"pegasus/meta/usage"
)

// askUsage asks the leading meta what tables use: one with its hours, or with table "" all without.
func askUsage(ctx context.Context, s Source, leader, table string) ([]usage.Table, error) {
	args := url.Values{"hours": {"0"}}
	if table != "" {
		args = url.Values{"name": {table}}
	}
	v, err := askLeader[struct{ Tables []usage.Table }](ctx, s, leader, "meta/usage", args)
	return v.Tables, err
}

// askLeader asks the leading meta for a page that is JSON.
func askLeader[T any](ctx context.Context, s Source, leader, page string, args url.Values) (v T, err error) {
	if leader == "" {
		return v, errors.New("no meta server leads")
	}
	b, err := s.Page(ctx, leader, page, args)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("page %s: %s answers %.200q: %w", page, leader, b, err)
	}
	return v, nil
}

// bar is an hour of a chart: heights in percent of the highest.
type bar struct {
	X, Height, Reads int64
	Words            string
}

// chart draws the hours of a table.
func chart(hours []usage.Hour) (bars []bar) {
	most := int64(1)
	for _, h := range hours {
		most = max(most, h.ReadUnits+h.WriteUnits)
	}
	for i, h := range hours {
		all := h.ReadUnits + h.WriteUnits
		bars = append(bars, bar{int64(i) * 10, 100 * all / most, 100 * h.ReadUnits / most,
			fmt.Sprintf("%s: %d units of reads, %d of writes, %s", h.Began.UTC().Format("2006-01-02 15:04 UTC"), h.ReadUnits, h.WriteUnits, size(h.Bytes))})
	}
	return bars
}
