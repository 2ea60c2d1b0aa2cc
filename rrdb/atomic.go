package rrdb

import (
	"bytes"
	"strconv"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// current returns the row as the writes in flight will leave it. Its data is valid until its closer, if it
// has one, is closed. code is codeOK if the row is live, codeNotFound if not, otherwise that of Pebble's
// error.
func (e *evaluation) current(key []byte) (r row, code int32) {
	op, found := e.inFlight(key)
	switch {
	case !found:
		return e.s.lookup(key, e.now)
	case op.Delete || expired(op.ExpireTS, e.now):
		return row{}, codeNotFound
	}
	return row{data: op.Value, expireTS: op.ExpireTS}, codeOK
}

func (e *evaluation) inFlight(key []byte) (Op, bool) {
	if e.ov == nil {
		return lastOp(e.payload, key)
	}
	return e.ov.Lookup(key, e.payload)
}

// release frees what current returned.
func (e *evaluation) release(r row) error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// maxDigits is the length of the longest int64 in decimal.
const maxDigits = 20

func (e *evaluation) incr() error {
	e.reply.kind = replyIncr
	var arg idl.IncrRequest
	arg.ReadThrift(&e.arg)
	if err := e.argErr(); err != nil {
		return err
	}
	if !validKey(arg.Key) {
		return e.refuse(codeInvalidArgument)
	}
	r, code := e.current(arg.Key)
	if code != codeOK && code != codeNotFound {
		return e.refuse(code)
	}
	var old int64
	valid := true
	if len(r.data) > 0 {
		old, valid = ParseInt(r.data)
	}
	if err := e.release(r); err != nil {
		return e.refuse(e.s.readFailed(err))
	}
	if !valid {
		return e.refuse(codeInvalidArgument)
	}
	sum, ok := AddInt(old, arg.Increment)
	if !ok {
		e.reply.number = old
		return e.refuse(codeInvalidArgument)
	}
	if ok, err := e.fits(opSize(len(arg.Key), maxDigits)); !ok {
		return err
	}
	var digits [maxDigits]byte
	value := strconv.AppendInt(digits[:0], sum, 10)
	e.addPut(arg.Key, value, IncrExpiry(r.expireTS, arg.ExpireTsSeconds, code == codeOK))
	e.reply.number = sum
	return nil
}

// AddInt returns the sum, and whether it fits.
func AddInt(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, b == 0 || (b > 0) == (sum > a)
}

// IncrExpiry returns the expiry of an incremented row. For a live row 0 keeps the expiry and a negative
// number removes it.
func IncrExpiry(old uint32, asked int32, live bool) uint32 {
	switch {
	case asked > 0:
		return uint32(asked)
	case asked == 0 && live:
		return old
	}
	return 0
}

func (e *evaluation) checkAndSet() error {
	e.reply.kind = replyCheck
	var arg idl.CheckAndSetRequest
	arg.ReadThrift(&e.arg)
	if err := e.argErr(); err != nil {
		return err
	}
	if err := base.CheckHashKey(arg.HashKey); err != nil {
		return err
	}
	e.touched.HashKey, e.touched.Checked = arg.HashKey, len(arg.CheckSortKey)
	code := e.check(arg.HashKey, arg.CheckSortKey, arg.CheckType, arg.CheckOperand, arg.ReturnCheckValue)
	if code != codeOK {
		return e.refuse(code)
	}
	sortKey := arg.CheckSortKey
	if arg.SetDiffSortKey {
		sortKey = arg.SetSortKey
	}
	if ok, err := e.fits(opSize(2+len(arg.HashKey)+len(sortKey), len(arg.SetValue))); !ok {
		return err
	}
	e.addRowPut(arg.HashKey, sortKey, arg.SetValue, uint32(arg.SetExpireTsSeconds))
	return nil
}

func (e *evaluation) checkAndMutate() error {
	e.reply.kind = replyCheck
	var arg idl.CheckAndMutateRequest
	arg.ReadThrift(&e.arg)
	if err := e.argErr(); err != nil {
		return err
	}
	if err := base.CheckHashKey(arg.HashKey); err != nil {
		return err
	}
	e.touched.HashKey, e.touched.Checked = arg.HashKey, len(arg.CheckSortKey)
	if len(arg.MutateList) == 0 {
		return e.refuse(codeInvalidArgument)
	}
	for i := range arg.MutateList {
		if op := arg.MutateList[i].Operation; op != idl.MO_PUT && op != idl.MO_DELETE {
			return e.refuse(codeInvalidArgument)
		}
	}
	size := 0
	for i := range arg.MutateList {
		size += opSize(2+len(arg.HashKey)+len(arg.MutateList[i].SortKey), len(arg.MutateList[i].Value))
	}
	if ok, err := e.fits(size); !ok {
		return err
	}
	code := e.check(arg.HashKey, arg.CheckSortKey, arg.CheckType, arg.CheckOperand, arg.ReturnCheckValue)
	if code != codeOK {
		return e.refuse(code)
	}
	for i := range arg.MutateList {
		m := &arg.MutateList[i]
		if m.Operation == idl.MO_DELETE {
			e.addRowRemove(arg.HashKey, m.SortKey)
			continue
		}
		e.addRowPut(arg.HashKey, m.SortKey, m.Value, uint32(m.SetExpireTsSeconds))
	}
	return nil
}

// check compares a row with an operand. If the client wants the row's value, it is put into the reply,
// whatever the result.
func (e *evaluation) check(hashKey, sortKey []byte, kind idl.CasCheckType, operand []byte, wantValue bool) int32 {
	if kind < idl.CT_NO_CHECK || kind > idl.CT_VALUE_INT_GREATER {
		return codeInvalidArgument
	}
	key := base.AppendKey(nil, hashKey, sortKey)
	r, code := e.current(key)
	if code != codeOK && code != codeNotFound {
		return code
	}
	live := code == codeOK
	if wantValue {
		e.reply.checkReturned = true
		e.reply.checkExist = live
		e.reply.checkValue = append([]byte(nil), r.data...)
	}
	code = checkValue(kind, live, r.data, operand)
	if err := e.release(r); err != nil {
		return e.s.readFailed(err)
	}
	return code
}

// Passes tells whether the value of a row, if it is live, passes a check.
func Passes(kind idl.CasCheckType, live bool, value, operand []byte) bool {
	return kind >= idl.CT_NO_CHECK && kind <= idl.CT_VALUE_INT_GREATER && checkValue(kind, live, value, operand) == codeOK
}

// checkValue returns codeOK if the check passes, codeTryAgain if it fails, and codeInvalidArgument if the
// values aren't numbers.
func checkValue(kind idl.CasCheckType, live bool, value, operand []byte) int32 {
	passed := false
	switch kind {
	case idl.CT_NO_CHECK:
		passed = true
	case idl.CT_VALUE_NOT_EXIST:
		passed = !live
	case idl.CT_VALUE_NOT_EXIST_OR_EMPTY:
		passed = !live || len(value) == 0
	case idl.CT_VALUE_EXIST:
		passed = live
	case idl.CT_VALUE_NOT_EMPTY:
		passed = live && len(value) > 0
	case idl.CT_VALUE_MATCH_ANYWHERE:
		passed = live && bytes.Contains(value, operand)
	case idl.CT_VALUE_MATCH_PREFIX:
		passed = live && bytes.HasPrefix(value, operand)
	case idl.CT_VALUE_MATCH_POSTFIX:
		passed = live && bytes.HasSuffix(value, operand)
	default:
		if !live {
			break
		}
		if kind <= idl.CT_VALUE_BYTES_GREATER {
			passed = ordered(kind-idl.CT_VALUE_BYTES_LESS, bytes.Compare(value, operand))
			break
		}
		a, okA := ParseInt(value)
		b, okB := ParseInt(operand)
		if !okA || !okB {
			return codeInvalidArgument
		}
		passed = ordered(kind-idl.CT_VALUE_INT_LESS, compareInts(a, b))
	}
	if passed {
		return codeOK
	}
	return codeTryAgain
}

// ordered tells whether the result c of a comparison matches a relation. Relations are numbered as in both
// groups of check types: less, less or equal, equal, greater or equal, greater.
func ordered(relation idl.CasCheckType, c int) bool {
	switch relation {
	case 0:
		return c < 0
	case 1:
		return c <= 0
	case 2:
		return c == 0
	case 3:
		return c >= 0
	}
	return c > 0
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
