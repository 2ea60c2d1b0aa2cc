package answer

// HotKeys is what the remote command replica.hotkeys answers for one partition.
type HotKeys struct {
	Partition string   `json:"partition"`
	Reads     []HotKey `json:"reads"`
	Writes    []HotKey `json:"writes"`
	// ReadRows and WriteRows are how many rows of all keys were asked for, a second.
	ReadRows  float64 `json:"read_rows_per_second"`
	WriteRows float64 `json:"write_rows_per_second"`
}

// HotKey is one of them; figures are estimates from a sample of the requests.
type HotKey struct {
	Key       []byte  `json:"hash_key"` // base64 in JSON
	PerSecond float64 `json:"rows_per_second"`
	Percent   float64 `json:"percent"` // of all rows of the partition
}
