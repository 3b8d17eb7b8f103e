// What a bot on mautrix-go does with a Quorate cluster, through different pods.
package matrix

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

const (
	localPods = "http://127.0.0.1:18008,http://127.0.0.1:18009,http://127.0.0.1:18010"
	password  = "correct horse battery staple"
	// An election, a restarted pod and a busy machine together take a part of it.
	longestWait = time.Minute
)

func pod(number int) string {
	addresses := os.Getenv("QUORATE_PODS")
	if addresses == "" {
		addresses = localPods
	}
	pods := strings.Split(addresses, ",")
	return pods[number%len(pods)]
}

// bot is a session that syncs until the end of its test.
type bot struct {
	*mautrix.Client
	t      *testing.T
	ctx    context.Context
	events chan *event.Event
}

// newBot registers with one pod, and logs in at the next.
func newBot(t *testing.T, number int, name string) *bot {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*longestWait)
	suffix := make([]byte, 4)
	_, _ = rand.Read(suffix)
	username := fmt.Sprintf("%s-%s", name, hex.EncodeToString(suffix))
	first := must(mautrix.NewClient(pod(number), "", ""))(t)
	must(first.RegisterDummy(ctx, &mautrix.ReqRegister[any]{Username: username, Password: password}))(t)

	client := must(mautrix.NewClient(pod(number+1), "", ""))(t)
	// As bots do: whoever sends too fast waits as long as it is told, and tries again.
	client.DefaultHTTPRetries = 10
	must(client.Login(ctx, &mautrix.ReqLogin{
		Type:             mautrix.AuthTypePassword,
		Identifier:       mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: username},
		Password:         password,
		StoreCredentials: true,
	}))(t)
	self := &bot{Client: client, t: t, ctx: ctx, events: make(chan *event.Event, 1000)}
	client.Syncer.(*mautrix.DefaultSyncer).OnEvent(func(_ context.Context, evt *event.Event) { self.events <- evt })
	ended := make(chan error, 1)
	go func() { ended <- client.SyncWithContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the sync of %s ended: %v", name, err)
		}
	})
	return self
}

// must returns a function that fails the test on an error, or returns the value.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// next returns the first event that fits, of those that were not looked at yet.
func (b *bot) next(what string, fits func(*event.Event) bool) *event.Event {
	b.t.Helper()
	timeout := time.After(longestWait)
	for {
		select {
		case evt := <-b.events:
			if fits(evt) {
				return evt
			}
		case <-timeout:
			b.t.Fatalf("%s waited for %s", b.UserID, what)
		}
	}
}

func (b *bot) room(request mautrix.ReqCreateRoom) id.RoomID {
	b.t.Helper()
	return must(b.CreateRoom(b.ctx, &request))(b.t).RoomID
}

func isMessage(evt *event.Event) bool { return evt.Type == event.EventMessage }

func TestABotAnswersEachMessageOnce(t *testing.T) {
	alice, echo := newBot(t, 0, "alice"), newBot(t, 1, "echo")
	room := alice.room(mautrix.ReqCreateRoom{Preset: "public_chat", Name: "lobby"})
	must(echo.JoinRoomByID(echo.ctx, room))(t)
	var sent, echoed []string
	for number := range 10 {
		text := fmt.Sprintf("message %d", number)
		must(alice.SendText(alice.ctx, room, text))(t)
		heard := echo.next("a message", func(evt *event.Event) bool { return isMessage(evt) && evt.Sender == alice.UserID })
		must(echo.SendText(echo.ctx, room, "echo: "+heard.Content.AsMessage().Body))(t)
		sent = append(sent, text, "echo: "+text)
	}
	for range sent {
		echoed = append(echoed, alice.next("an answer", isMessage).Content.AsMessage().Body)
	}
	if !slices.Equal(sent, echoed) {
		t.Fatalf("sent %q, received %q", sent, echoed)
	}
}

func TestABotIsInvitedAndSeesItsRemoval(t *testing.T) {
	alice, guest := newBot(t, 2, "alice"), newBot(t, 0, "guest")
	room := alice.room(mautrix.ReqCreateRoom{Preset: "private_chat", Invite: []id.UserID{guest.UserID}})
	ofGuest := func(membership event.Membership) func(*event.Event) bool {
		return func(evt *event.Event) bool {
			return evt.Type == event.StateMember && evt.GetStateKey() == guest.UserID.String() && evt.Content.AsMember().Membership == membership
		}
	}
	guest.next("the invitation", ofGuest(event.MembershipInvite))
	must(guest.JoinRoomByID(guest.ctx, room))(t)
	guest.next("the join", ofGuest(event.MembershipJoin))
	must(alice.BanUser(alice.ctx, room, &mautrix.ReqBanUser{UserID: guest.UserID, Reason: "over"}))(t)
	if evt := guest.next("the ban", ofGuest(event.MembershipBan)); evt.Content.AsMember().Reason != "over" {
		t.Fatalf("the reason is %q", evt.Content.AsMember().Reason)
	}
	if _, err := guest.SendText(guest.ctx, room, "hello?"); !errors.Is(err, mautrix.MForbidden) {
		t.Fatalf("a banned user's message: %v", err)
	}
}

func TestOneTransactionIsOneMessage(t *testing.T) {
	alice := newBot(t, 1, "alice")
	room := alice.room(mautrix.ReqCreateRoom{Preset: "private_chat"})
	content := &event.MessageEventContent{MsgType: event.MsgText, Body: "once"}
	var ids []id.EventID
	for range 3 {
		sent := must(alice.SendMessageEvent(alice.ctx, room, event.EventMessage, content, mautrix.ReqSendEvent{TransactionID: "t1"}))(t)
		ids = append(ids, sent.EventID)
	}
	if ids[0] != ids[1] || ids[1] != ids[2] {
		t.Fatalf("sent %q", ids)
	}
}

func TestHistoryIsReadBackwardsToItsBeginning(t *testing.T) {
	alice := newBot(t, 0, "alice")
	room := alice.room(mautrix.ReqCreateRoom{Preset: "private_chat"})
	var sent, read []string
	for number := range 25 {
		text := fmt.Sprintf("line %d", number)
		must(alice.SendText(alice.ctx, room, text))(t)
		sent = append(sent, text)
	}
	for from := ""; ; {
		page := must(alice.Messages(alice.ctx, room, from, "", mautrix.DirectionBackward, nil, 7))(t)
		for _, evt := range page.Chunk {
			if evt.Type.Type == event.EventMessage.Type {
				read = append(read, fmt.Sprint(evt.Content.Raw["body"]))
			}
		}
		if page.End == "" || len(page.Chunk) == 0 {
			break
		}
		from = page.End
	}
	slices.Reverse(read)
	if !slices.Equal(sent, read) {
		t.Fatalf("sent %q, read %q", sent, read)
	}
}

func TestAReactionIsSeenAndTakenBack(t *testing.T) {
	alice, bob := newBot(t, 0, "alice"), newBot(t, 1, "bob")
	room := alice.room(mautrix.ReqCreateRoom{Preset: "public_chat"})
	must(bob.JoinRoomByID(bob.ctx, room))(t)
	message := must(alice.SendText(alice.ctx, room, "like it?"))(t)
	reaction := must(bob.SendReaction(bob.ctx, room, message.EventID, "👍"))(t)
	seen := alice.next("the reaction", func(evt *event.Event) bool { return evt.Type == event.EventReaction })
	if relation := seen.Content.AsReaction().RelatesTo; relation.EventID != message.EventID || relation.Key != "👍" {
		t.Fatalf("the reaction is %+v", relation)
	}
	must(bob.RedactEvent(bob.ctx, room, reaction.EventID))(t)
	redaction := alice.next("the redaction", func(evt *event.Event) bool { return evt.Type == event.EventRedaction })
	if redaction.Redacts != reaction.EventID && redaction.Content.AsRedaction().Redacts != reaction.EventID {
		t.Fatalf("the redaction is of %s", redaction.Redacts)
	}
}
