package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"pegasus/meta/usage"
)

// maxUsage is the longest answer about usage that is read: 10,000 tables have 2 MB.
const maxUsage = 32 << 20

// askUsage asks the leading meta what tables use: one with its hours, or with table "" all without.
func askUsage(ctx context.Context, leader, table string) ([]usage.Table, error) {
	if leader == "" {
		return nil, errors.New("no meta server leads")
	}
	args := url.Values{"hours": {"0"}}
	if table != "" {
		args = url.Values{"name": {table}}
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+leader+"/meta/usage?"+args.Encode(), nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, fmt.Errorf("what tables use: %w", err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, maxUsage))
	if err != nil {
		return nil, fmt.Errorf("what tables use: %w", err)
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("what tables use: %s answers %s: %.200q", leader, r.Status, b)
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
