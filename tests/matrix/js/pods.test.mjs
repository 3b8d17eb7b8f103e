// What matrix-js-sdk does with a Quorate cluster, through different pods.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Direction, Preset, ReceiptType, Visibility } from "matrix-js-sdk";
import { bodies, joinedRoom, login, newcomer, stopEveryone, text, until } from "./person.mjs";

after(stopEveryone);

async function sharedRoom(alice, bob, options = {}) {
    const { room_id: roomId } = await alice.createRoom({ preset: Preset.PublicChat, name: "lobby", ...options });
    await bob.joinRoom(roomId);
    await Promise.all([joinedRoom(alice, roomId), joinedRoom(bob, roomId)]);
    return roomId;
}

const pair = () => Promise.all([newcomer(0, "alice"), newcomer(1, "bob")]);

test("users on different pods see each message once, in one order", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob);
    const sent = Array.from({ length: 10 }, (_, i) => `message ${i}`);
    for (const body of sent) await alice.sendMessage(roomId, text(body));
    for (const client of [alice, bob]) {
        await until(client, () => bodies(client, roomId).length >= sent.length, "all messages");
        assert.deepEqual(bodies(client, roomId), sent);
    }
    assert.equal(bob.getRoom(roomId).name, "lobby");
});

test("a private room is entered by invitation", async () => {
    const [alice, bob] = await pair();
    const { room_id: roomId } = await alice.createRoom({ preset: Preset.PrivateChat, name: "board" });
    await assert.rejects(bob.joinRoom(roomId), { errcode: "M_FORBIDDEN" });
    await alice.invite(roomId, bob.getUserId());
    await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "invite", "the invitation");
    await bob.joinRoom(roomId);
    await joinedRoom(bob, roomId);
    await until(alice, () => alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "join", "the member");
});

test("a message that is sent twice under one transaction id is one message", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob);
    const first = await alice.sendMessage(roomId, text("once"), "t1");
    // Of a client that has no memory of the first.
    const again = await alice.http.authedRequest("PUT", `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/t1`, undefined, text("once"));
    assert.equal(again.event_id, first.event_id);
    await alice.sendMessage(roomId, text("last"));
    await until(bob, () => bodies(bob, roomId).includes("last"), "the last message");
    assert.deepEqual(bodies(bob, roomId), ["once", "last"]);
});

test("history pages back to the creation of the room", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob);
    const sent = Array.from({ length: 30 }, (_, i) => `line ${i}`);
    for (const body of sent) await alice.sendMessage(roomId, text(body));
    // A new session: its first sync has only the end of the room.
    const late = await login(2, bob.getUserIdLocalpart());
    const room = await joinedRoom(late, roomId);
    while (room.getLiveTimeline().getPaginationToken(Direction.Backward)) await late.scrollback(room, 10);
    assert.deepEqual(bodies(late, roomId), sent);
    assert.equal(room.getLiveTimeline().getEvents()[0].getType(), "m.room.create");
});

test("leaving and state are seen by the others", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob);
    await alice.setRoomTopic(roomId, "plans");
    await until(bob, () => bob.getRoom(roomId).currentState.getStateEvents("m.room.topic", "")?.getContent().topic === "plans", "the topic");
    await bob.leave(roomId);
    await until(alice, () => alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "leave", "the leave");
});

test("an edit and a redaction change what others read", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob);
    const { event_id: edited } = await alice.sendMessage(roomId, text("helo"));
    const { event_id: gone } = await alice.sendMessage(roomId, text("secret"));
    const relation = { rel_type: "m.replace", event_id: edited };
    await alice.sendMessage(roomId, { ...text("* hello"), "m.new_content": text("hello"), "m.relates_to": relation });
    await alice.redactEvent(roomId, gone);
    const room = bob.getRoom(roomId);
    await until(bob, () => room.findEventById(edited)?.getContent().body === "hello", "the edit");
    await until(bob, () => room.findEventById(gone)?.isRedacted(), "the redaction");
});

test("a thread has its replies, and the room only its root", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob);
    const { event_id: root } = await alice.sendMessage(roomId, text("root"));
    // Not by `sendMessage`, which fails if the echo of a reply in a thread comes by /sync before the answer to the request.
    for (const [i, body] of ["first", "second"].entries()) {
        const reply = { ...text(body), "m.relates_to": { rel_type: "m.thread", event_id: root } };
        await alice.http.authedRequest("PUT", `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/reply-${i}`, undefined, reply);
    }
    await until(bob, () => bob.getRoom(roomId).getThread(root)?.length === 2, "the thread");
    const late = await login(2, bob.getUserIdLocalpart());
    const room = await joinedRoom(late, roomId);
    const { originalEvent, events } = await late.relations(roomId, root, "m.thread", null);
    assert.equal(originalEvent.getId(), root);
    assert.deepEqual(events.map((event) => event.getContent().body), ["second", "first"]);
    await room.fetchRoomThreads();
    assert.equal(room.getThread(root)?.length, 2);
});

test("typing and receipts reach the others", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob);
    await bob.sendTyping(roomId, true, 30_000);
    await until(alice, () => alice.getRoom(roomId).getMember(bob.getUserId())?.typing, "typing");
    const { event_id: id } = await alice.sendMessage(roomId, text("read me"));
    const event = await until(bob, () => bob.getRoom(roomId).findEventById(id), "the message");
    await bob.sendReadReceipt(event, ReceiptType.Read);
    await until(alice, () => alice.getRoom(roomId).getUsersReadUpTo(alice.getRoom(roomId).findEventById(id)).includes(bob.getUserId()), "the receipt");
});

test("tags, devices and the public list", async () => {
    const [alice, bob] = await pair();
    const roomId = await sharedRoom(alice, bob, { visibility: Visibility.Public });
    await alice.setRoomTag(roomId, "m.favourite", { order: 0.5 });
    await until(alice, () => alice.getRoom(roomId).tags["m.favourite"]?.order === 0.5, "the tag");
    const { devices } = await alice.getDevices();
    assert.ok(devices.some((device) => device.device_id === alice.getDeviceId()));
    const { chunk } = await bob.publicRooms({ filter: { generic_search_term: "lobby" } });
    assert.ok(chunk.some((room) => room.room_id === roomId));
});

test("a message in an encrypted room is read by its members alone", async () => {
    const encrypting = (client) => client.initRustCrypto({ useIndexedDB: false });
    const [first, second] = await pair();
    const [alice, bob] = await Promise.all([first, second].map((user, i) => login(i, user.getUserIdLocalpart(), encrypting)));
    const initial_state = [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }];
    const roomId = await sharedRoom(alice, bob, { initial_state });
    const devices = await alice.getCrypto().getUserDeviceInfo([bob.getUserId()], true);
    assert.ok(devices.get(bob.getUserId())?.has(bob.getDeviceId()), "the keys of a device are found");
    const { event_id: id } = await alice.sendMessage(roomId, text("secret"));
    const event = await until(bob, () => bob.getRoom(roomId).findEventById(id), "the message");
    assert.equal(event.getWireType(), "m.room.encrypted");
    await until(bob, () => event.getClearContent()?.body === "secret", "its decryption");
});
