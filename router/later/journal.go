package later

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// record is an event in the file: its request until it is answered, then its answer.
type record struct {
	Accepted time.Time
	Sink     string
	// Header and body are the event's: of the request, or of the answer if Answered.
	Header   http.Header
	Answered bool `json:",omitempty"`
	// Failed is why the event goes to the dead letter; nil if it does not.
	Failed *DeliveryError `json:",omitempty"`

	body []byte
}

// DeliveryError is what the dead letter is told, as Knative tells it.
type DeliveryError struct {
	// Dest is where the event could not be brought to.
	Dest string
	// Code is the HTTP status of the last answer; zero if there was none.
	Code int `json:",omitempty"`
	// Data is the start of the last answer's body, or what went wrong.
	Data []byte
}

func (f *DeliveryError) Error() string {
	return fmt.Sprintf("%s: status %d: %s", f.Dest, f.Code, f.Data)
}

var bucket = []byte("events")

// journal is the file. Its bounds count what waits, not the file's size.
type journal struct {
	db        *bbolt.DB
	maxEvents int
	maxBytes  int64

	mu     sync.Mutex
	events int
	bytes  int64
}

func openJournal(file string, maxEvents int, maxBytes int64) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("folder of events to answer later: %w", err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use by another router: each needs a file of its own", file)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	db.MaxBatchDelay = 2 * time.Millisecond
	j := &journal{db: db, maxEvents: maxEvents, maxBytes: maxBytes}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return b.ForEach(func(_, v []byte) error {
			j.events++
			j.bytes += int64(len(v))
			return nil
		})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", file, err), db.Close())
	}
	return j, nil
}

func (j *journal) close() error { return j.db.Close() }

// keys are those of all records, oldest first.
func (j *journal) keys() []uint64 {
	var keys []uint64
	// A View of an open file with its bucket does not fail.
	_ = j.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, _ []byte) error {
			keys = append(keys, binary.BigEndian.Uint64(k))
			return nil
		})
	})
	return keys
}

func (j *journal) waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events
}

// reserve counts records that are about to be written, or says that they do not fit.
func (j *journal) reserve(events int, bytes int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if events > 0 && (j.events+events > j.maxEvents || j.bytes+bytes > j.maxBytes) {
		return ErrFull
	}
	j.events += events
	j.bytes += bytes
	return nil
}

// add writes records and returns after they are on the disk.
func (j *journal) add(records []record) ([]uint64, error) {
	values := make([][]byte, len(records))
	var bytes int64
	for i, r := range records {
		var err error
		if values[i], err = r.marshal(); err != nil {
			return nil, err
		}
		bytes += int64(len(values[i]))
	}
	if err := j.reserve(len(records), bytes); err != nil {
		return nil, err
	}
	var keys []uint64
	// Batch puts what comes together into one write.
	err := j.db.Batch(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		keys = make([]uint64, len(values)) // it may be called again
		for i, v := range values {
			var err error
			if keys[i], err = b.NextSequence(); err != nil {
				return err
			}
			if err := b.Put(key(keys[i]), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		_ = j.reserve(-len(records), -bytes)
		return nil, fmt.Errorf("keep the event: %w", err)
	}
	return keys, nil
}

func (j *journal) get(k uint64) (r record, err error) {
	err = j.db.View(func(tx *bbolt.Tx) error { return r.unmarshal(tx.Bucket(bucket).Get(key(k))) })
	return r, err
}

// put replaces a record; delete removes it. What grows may go over the bounds: it was accepted.
func (j *journal) put(k uint64, r record) error {
	v, err := r.marshal()
	if err != nil {
		return err
	}
	return j.change(k, v)
}

func (j *journal) delete(k uint64) error { return j.change(k, nil) }

func (j *journal) change(k uint64, v []byte) error {
	var before int
	err := j.db.Batch(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		before = len(b.Get(key(k)))
		if v == nil {
			return b.Delete(key(k))
		}
		return b.Put(key(k), v)
	})
	if err != nil {
		return fmt.Errorf("write to the file of events to answer later: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bytes += int64(len(v) - before)
	if v == nil {
		j.events--
	}
	return nil
}

func key(k uint64) []byte { return binary.BigEndian.AppendUint64(nil, k) }

// marshal writes the length of the JSON, the JSON and the body.
func (r record) marshal() ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("keep the event: %w", err)
	}
	v := binary.AppendUvarint(make([]byte, 0, len(head)+len(r.body)+binary.MaxVarintLen64), uint64(len(head)))
	return append(append(v, head...), r.body...), nil
}

// unmarshal copies: v is the file's own memory.
func (r *record) unmarshal(v []byte) error {
	length, n := binary.Uvarint(v)
	if n <= 0 || length > uint64(len(v)-n) {
		return errors.New("a record of the file of events to answer later is damaged")
	}
	head := v[n : n+int(length)]
	if err := json.Unmarshal(head, r); err != nil {
		return fmt.Errorf("a record of the file of events to answer later is damaged: %w", err)
	}
	r.body = append([]byte(nil), v[n+int(length):]...)
	return nil
}
