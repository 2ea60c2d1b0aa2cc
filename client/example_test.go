package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/gen/rrdb"
)

func Example() {
	c := client.New([]string{"127.0.0.1:34601"}, client.Options{})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	shop, err := c.Table(ctx, "shop")
	if errors.Is(err, base.ErrObjectNotFound) {
		log.Fatal("create the table first: pegasus table create shop")
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := shop.Set(ctx, []byte("user1"), []byte("name"), []byte("Alice"), 0); err != nil {
		log.Fatal(err)
	}
	value, found, err := shop.Get(ctx, []byte("user1"), []byte("name"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %v\n", value, found)
}

// A row with a time to live expires by itself.
func ExampleTable_Set() {
	sessions := openTable("sessions")
	ctx := context.Background()
	if err := sessions.Set(ctx, []byte("s81"), []byte("user"), []byte("Alice"), 3600); err != nil {
		log.Fatal(err)
	}
	seconds, found, err := sessions.TTL(ctx, []byte("s81"), []byte("user"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found, seconds)
}

// Incr must not be repeated blindly: an error may leave open whether the row was changed.
func ExampleTable_Incr() {
	counters := openTable("counters")
	n, err := counters.Incr(context.Background(), []byte("page1"), []byte("views"), 1, 0)
	var failed *client.Error
	switch {
	case errors.As(err, &failed) && failed.Unknown:
		log.Fatal("the increment may have been applied: read the row before another attempt: ", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(n)
}

// MultiGet reads a range of the rows of one hash key, ordered by sort key.
func ExampleTable_MultiGet() {
	orders := openTable("orders")
	rows, all, err := orders.MultiGet(context.Background(), []byte("user1"),
		client.MultiGetOptions{From: []byte("2026-01"), To: []byte("2026-02"), MaxCount: 100})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rows {
		fmt.Printf("%s: %s\n", r.SortKey, r.Value)
	}
	if !all {
		fmt.Println("there are more")
	}
}

// CheckAndSet writes a row only while another one, or the same, has the expected value.
func ExampleTable_CheckAndSet() {
	locks := openTable("locks")
	res, err := locks.CheckAndSet(context.Background(), []byte("job7"),
		client.Check{SortKey: []byte("owner"), Type: rrdb.CT_VALUE_NOT_EXIST},
		[]byte("owner"), []byte("worker3"), 60)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Applied)
}

// ScanAll visits every row of a table, partition by partition.
func ExampleTable_ScanAll() {
	shop := openTable("shop")
	ctx := context.Background()
	s := shop.ScanAll(client.ScanOptions{})
	defer s.Close()
	for s.Next(ctx) {
		fmt.Printf("%s : %s\n", s.Row().HashKey, s.Row().SortKey)
	}
	if err := s.Err(); err != nil {
		log.Fatal(err)
	}
}

func ExampleAdmin_CreateTable() {
	c := client.New([]string{"127.0.0.1:34601"}, client.Options{})
	defer c.Close()
	id, err := c.Admin().CreateTable(context.Background(), "shop", 8, 3, client.CreateOptions{SuccessIfExists: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("table id", id)
}

func openTable(name string) *client.Table {
	c := client.New([]string{"127.0.0.1:34601"}, client.Options{}) // one client a process; Close it at the end
	t, err := c.Table(context.Background(), name)
	if err != nil {
		log.Fatal(err)
	}
	return t
}
