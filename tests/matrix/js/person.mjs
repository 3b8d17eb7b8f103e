// A person with matrix-js-sdk, and what tests wait for.

import { randomBytes } from "node:crypto";
import { ClientEvent, MatrixEventEvent, RoomEvent, SyncState, createClient } from "matrix-js-sdk";

export const PODS = (process.env.QUORATE_PODS ?? "http://127.0.0.1:18008,http://127.0.0.1:18009,http://127.0.0.1:18010").split(",");
const PASSWORD = "correct horse battery staple";
// An election, a restarted pod and a busy machine together take a part of it.
const LONGEST_WAIT_MS = 60_000;

// The SDK tells of each request and each retry, past any logger that it is given. Reporters of tests do not use the console.
if (!process.env.QUORATE_SHOW) for (const level of ["trace", "debug", "log", "info", "warn", "error"]) console[level] = () => {};

const clients = [];

export function stopEveryone() {
    for (const client of clients.splice(0)) client.stopClient();
}

function connect(pod, credentials = {}) {
    const client = createClient({ baseUrl: PODS[pod % PODS.length], timelineSupport: true, ...credentials });
    clients.push(client);
    return client;
}

// Registers with one pod, logs in and syncs with the next; `device` is for a further session of the same person.
export async function newcomer(pod, name) {
    const username = `${name}-${randomBytes(4).toString("hex")}`;
    await connect(pod).registerRequest({ username, password: PASSWORD, auth: { type: "m.login.dummy" } });
    return login(pod + 1, username);
}

export async function login(pod, username, beforeSync = async () => {}) {
    const identifier = { type: "m.id.user", user: username };
    const session = await connect(pod).loginRequest({ type: "m.login.password", identifier, password: PASSWORD });
    const client = connect(pod, { userId: session.user_id, deviceId: session.device_id, accessToken: session.access_token });
    await beforeSync(client);
    await client.startClient({ initialSyncLimit: 20, threadSupport: true, pollTimeout: 10_000 });
    await until(client, () => [SyncState.Prepared, SyncState.Syncing].includes(client.getSyncState()), "the first sync");
    return client;
}

const EVENTS = [
    ClientEvent.Sync, ClientEvent.Room, ClientEvent.Event, RoomEvent.Timeline, RoomEvent.MyMembership, RoomEvent.Receipt,
    RoomEvent.Tags, MatrixEventEvent.Decrypted, "RoomMember.typing", "RoomMember.membership", "Thread.update", "Thread.new",
];

// Returns what `look` finds, as soon as it finds something; looks again whenever the client says that something changed.
export function until(client, look, what) {
    return new Promise((resolve, reject) => {
        const finish = (settle, value) => {
            clearTimeout(timer);
            EVENTS.forEach((event) => client.off(event, check));
            settle(value);
        };
        const check = () => {
            const found = look();
            if (found) finish(resolve, found);
        };
        const timer = setTimeout(() => finish(reject, new Error(`waited for ${what}`)), LONGEST_WAIT_MS);
        EVENTS.forEach((event) => client.on(event, check));
        check();
    });
}

export function joinedRoom(client, roomId) {
    return until(client, () => {
        const room = client.getRoom(roomId);
        return room?.getMyMembership() === "join" && room;
    }, `the room ${roomId}`);
}

// Bodies of the messages that the client has of a room, in its order.
export function bodies(client, roomId) {
    const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
    return events.filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);
}

export const text = (body) => ({ msgtype: "m.text", body });
