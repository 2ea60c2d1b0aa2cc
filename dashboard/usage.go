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
	if leader == "" {
		return nil, errors.New("no meta server leads")
	}
	args := url.Values{"hours": {"0"}}
	if table != "" {
		args = url.Values{"name": {table}}
	}
	b, err := s.Page(ctx, leader, "meta/usage", args)
	if err != nil {
		return nil, err
	}
	var v struct {
		Tables []usage.Table `json:"tables"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("what tables use: %s answers %.200q: %w", leader, b, err)
	}
	return v.Tables, nil
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
