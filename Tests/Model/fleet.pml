// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors
//
// How a logout reaches every gateway before it is answered, as a model for spin (https://spinroot.com). check.py runs it, and each rule removed.
//
// Two gateways and Redis with a replica. ORIGIN (o_) is asked to log the one session out. The EDGE (e_) has a stream of it open, remembers answers and
// asks anew; it may be slow, deaf, cut off or stopped at any step: no step of it has to follow another within any time. One process tells all of it:
// each step of one party is an atomic alternative of one loop, so every order of steps is looked at. Time is ticks, MAX_STALENESS of them to a lease;
// a tick may come between any two steps. Redis' clock is not believed at all: a heartbeat's key may go at any time, and may stay for as long.
//
// The promise: what stands in `forward` is never reached with an old answer once the logout has been answered, and `refuse` only if somebody has
// ended the session. Where everything is well (PROMPT), the logout is also answered without waiting, where the edge is dead (SILENT) after one lease.

#ifndef MAX_STALENESS
#define MAX_STALENESS 2
#endif
#define NEVER (MAX_STALENESS + 1)

// What may go wrong, and how often; given by the configuration.
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef ORIGIN_LOSSES
#define ORIGIN_LOSSES 0
#endif
#ifndef FLUSHES
#define FLUSHES 0
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif
#ifndef MOVES
#define MOVES 0
#endif
#ifndef CAPACITY
#define CAPACITY 2
#endif

// What is pushed. Heartbeats have numbers; all that matters is whether one is the last.
#define FENCE 1
#define SESSION 2
#define EDGE 3
#define FLUSH 4
#define PONG 5
#define ACK 6
#define BEAT 7
#define OLD_BEAT 8
#define NEXT 9 // the fence of a later logout of the same origin: whoever acknowledges that acknowledges all before it

// LeaseMachine
#define DEAF 0
#define VERIFYING 1
#define WRITING 2
#define CONFIRMING 3
#define RESTING 4
#define PINGING 5
#define RENEWING 6

// A logout, as its origin sees it.
#define NONE 0
#define WRITTEN 1
#define PENDING 2
#define DECIDED 3
#define ANSWERED 4

// Something asked of Redis.
#define IDLE 0
#define SENT 1
#define DONE 2 // executed: what it changed is pushed before its answer leaves
#define YES 3
#define NO 4

// Redis: two nodes. Connections name them 1 and 2, 0 is none.
bool member[3], key[3];
bool dirtySession[3], dirtyEdge[3]; // to be pushed at the end of the event loop's cycle
bool promoted, synced;
byte losses, originLosses, flushes, moves;
bool ended; // by whom ever: a refusal is the truth

// The edge.
chan toEdge = [CAPACITY] of { byte };
byte e_push, e_client, e_data; // which node each connection goes to
byte e_state, e_lease, e_pinged; // left of the lease; ticks since the moment that a new one would count from
byte e_ping; // under way: SENT
byte e_beat; // heartbeat's command: IDLE, SENT, DONE, YES, NO
bool e_heard, e_hears; // the last beat came back; its invalidation did
bool e_fence, e_forget; // heard and on its way to the loops
bool e_owed;
#ifdef OTHERS
bool e_tracks;
byte e_asked; // ticks since the question was asked
#endif
bool e_remembers, e_stream;
byte e_question; bool e_stale; // under way: IDLE, SENT, YES, NO; something was heard since
byte e_recheck, e_oldRecheck; // verification, and one of a connection before
bool e_dead;

// The origin.
chan toOrigin = [CAPACITY] of { byte };
byte o_push, o_client;
byte o_logout, o_view, o_wait, o_age, o_waited;
#if defined(WITNESS_CONFIRMED) || defined(WITNESS_AFTER_FAILOVER)
bool o_asked; // somebody was waited for
#define NOTE_ASKED o_asked = 1
#else
#define NOTE_ASKED skip
#endif
bool o_listed, o_echoed, o_seen, o_acked, o_knew; // o_knew: listened long enough when the fence was opened
byte o_list;
#ifdef LATER
bool o_later;
#endif

byte gone; // ticks since somebody else took the session away

#define E_QUIET (!e_fence && !e_forget)
#define ROOM(c) (len(c) < CAPACITY)

// Invalidations are sent to the edge where nobody else tells it, and the origin looks at heartbeats alone: fewer messages, fewer states.
#ifdef OTHERS
#define TELL_EDGE e_tracks // a Redis may not do it
#else
#define TELL_EDGE false
#endif

#ifdef OTHERS
#define JUST_ASKED e_asked = 0
#else
#define JUST_ASKED skip
#endif
#ifdef REQUESTS
#define FORGETS true
#else
#define FORGETS false
#endif

// A failover costs the origin its connection, after which it waits for strangers. So there it is taken to know nobody at any time: fewer states, and what
// the edge may do is the same.
#if FAILOVERS
#define TELL_ORIGIN false
#else
#define TELL_ORIGIN true
#endif

// Only where an older heartbeat may still come back it matters which one does.
#if FAILOVERS
#define NEXT_NUMBER n = len(toEdge); \
  do \
  :: n > 0 -> toEdge ? m; toEdge ! (m == BEAT -> OLD_BEAT : m); n-- \
  :: n == 0 -> m = 0; break \
  od
#else
#define NEXT_NUMBER skip
#endif

// The edge acts on an answer that it has.
inline forward() {
  assert(o_logout != ANSWERED);
  assert(gone != NEVER)
}
// Somebody is told, or shown, that the session has ended.
inline refuse() { assert(ended) }

inline hold() {
#ifndef OTHERS
  if :: FORGETS -> e_hears = 1 :: else fi;
#endif
  e_lease = MAX_STALENESS - e_pinged; e_pinged = MAX_STALENESS; e_heard = 0; e_state = RESTING
}

inline loseEdge() {
  e_push = 0; e_ping = IDLE; e_state = DEAF; e_pinged = MAX_STALENESS; e_heard = 0;
  e_hears = 0;
#ifndef MUTANT_MEMORY_SURVIVES_LOSS
  e_forget = FORGETS;
#endif
  do :: toEdge ? _ :: empty(toEdge) -> break od
}

inline loseOrigin() {
  o_push = 0; o_listed = 0; o_list = IDLE; o_knew = 0;
  do :: toOrigin ? _ :: empty(toOrigin) -> break od
}

// What the origin knows matters no more.
inline originIsDone() {
  loseOrigin(); o_view = 0; o_seen = 0; o_echoed = 0; o_acked = 0; o_wait = 0; o_age = 0; e_owed = 0
}

// A heartbeat of the edge is in the view of the origin.
inline heardEdge() {
#if !FAILOVERS
  o_view = MAX_STALENESS;
  if :: o_logout >= WRITTEN && o_logout < DECIDED -> o_seen = 1 :: else fi
#else
  skip
#endif
}

inline write() { e_state = WRITING; e_beat = SENT; e_pinged = 0; NEXT_NUMBER; e_heard = 0 }

// The renewal's answer: it was there.
inline renewed() {
  if
#if !defined(MUTANT_BEAT_NOT_HEARD) && !defined(MUTANT_NEITHER_PONG_NOR_BEAT)
  :: !e_heard -> e_state = CONFIRMING; e_ping = SENT
#endif
#ifndef MUTANT_LAPSED_LEASE_RENEWED
  :: e_lease == 0 -> e_state = CONFIRMING; e_ping = SENT
#endif
  :: else -> hold()
  fi
}

inline pushBoth(n, message) {
  if :: e_push == n -> toEdge ! message :: else fi;
  if :: o_push == n -> toOrigin ! message :: else fi
}
#define CAN_PUSH(n) ((e_push != n || ROOM(toEdge)) && (o_push != n || ROOM(toOrigin)))

// All that has changed, in one go.
#define MAY_END(n) ((dirtySession[n] || dirtyEdge[n]) && (!TELL_EDGE || e_push != n || len(toEdge) + dirtySession[n] + dirtyEdge[n] <= CAPACITY) \
  && (!TELL_ORIGIN || !dirtyEdge[n] || o_push != n || ROOM(toOrigin)))
inline endCycle(n) {
  if :: TELL_EDGE && dirtySession[n] && e_push == n -> toEdge ! SESSION :: else fi;
  if :: TELL_EDGE && dirtyEdge[n] && e_push == n -> toEdge ! EDGE :: else fi;
  if :: TELL_ORIGIN && dirtyEdge[n] && o_push == n -> toOrigin ! EDGE :: else fi;
  dirtySession[n] = 0; dirtyEdge[n] = 0
}

// A change counts as replicated only if the replica has it; a promoted one has replicas of its own.
#if defined(MUTANT_NO_WAIT) || !FAILOVERS
#define REPLICATED(n) true
#else
#define REPLICATED(n) (n == 2 || (synced && !promoted))
#endif
// Nobody keeps asking what cannot be: a node that has been a primary answers as one.
#define IS_PRIMARY(n) (n == 1 || promoted)

#if defined(PROMPT) || defined(SILENT)
// Time goes on only when everybody has done what can be done now.
#define SETTLED (empty(toEdge) && empty(toOrigin) && E_QUIET && !e_owed && e_ping != SENT && (e_beat == IDLE || e_dead) \
  && o_list == IDLE && (e_recheck == IDLE || e_dead) && (e_push || e_dead) && (o_logout == ANSWERED || (o_push && o_listed)) \
  && !(o_logout == WRITTEN || (o_logout == PENDING && o_echoed) || (RESENDS && (!o_acked || !o_echoed) && !o_resent && o_logout > WRITTEN && o_logout < ANSWERED) \
    || (o_logout == DECIDED && (o_acked || o_wait == 0))) \
  && (e_state == RESTING || e_dead))
bool o_resent;
#ifdef MUTANT_NOT_PUBLISHED_AGAIN
#define RESENDS false
#else
#define RESENDS true
#endif
#define MAY_RESEND !o_resent
#else
#define SETTLED true
#define MAY_RESEND true
#endif
#if FAILOVERS
#define MAY_EXPIRE false // the other worlds have that
#elif defined(SILENT)
#define MAY_EXPIRE e_dead
#else
#define MAY_EXPIRE true
#endif
#ifdef PROMPT
#define MAY_BEGIN (e_state == RESTING && e_push && o_listed)
#else
#define MAY_BEGIN true
#endif

init {
  byte n, m; // m: for NEXT_NUMBER, 0 elsewhere
  d_step {
    member[1] = 1; member[2] = 1; synced = 1;
    e_client = 1; e_data = 1; o_client = 1
#ifndef REQUESTS
    e_stream = 1
#endif
  }
  do
  // ---- time
  // Not within a cycle: what is sent later comes in a later one.
  :: atomic { SETTLED && !dirtySession[1] && !dirtyEdge[1] && !dirtySession[2] && !dirtyEdge[2] ->
#ifdef PROMPT
       assert(!(o_logout >= WRITTEN && o_logout < ANSWERED && o_waited >= 2)); // a tick may fall into any moment
#endif
#ifdef SILENT
       assert(!(o_logout >= WRITTEN && o_logout < ANSWERED && o_waited > MAX_STALENESS + 1));
#endif
       d_step {
         if :: e_lease > 0 -> e_lease-- :: else fi;
         if :: e_pinged < MAX_STALENESS -> e_pinged++ :: else fi;
         if :: o_view > 0 -> o_view-- :: else fi;
         if :: o_wait > 0 -> o_wait-- :: else fi;
         if :: !FAILOVERS && o_age < MAX_STALENESS -> o_age++ :: else fi;
#if defined(PROMPT) || defined(SILENT)
         if :: o_logout >= WRITTEN && o_logout < ANSWERED && o_waited < NEVER + 1 -> o_waited++ :: else fi;
         o_resent = 0;
#endif
#if defined(OTHERS) && !defined(MUTANT_ANSWERS_OF_ANY_AGE)
         // `command_timeout` is no longer than `max_staleness`.
         if :: e_question -> e_asked++; if :: e_asked == MAX_STALENESS -> e_question = IDLE; e_stale = 0; e_asked = 0 :: else fi :: else fi;
#endif
         if :: gone > 0 && gone < NEVER -> gone++ :: else fi
       }
     }

  // ---- Redis
  // The end of a cycle: what has changed is pushed, after what was published meanwhile.
  :: atomic { MAY_END(1) -> endCycle(1) }
#if FAILOVERS
  :: atomic { MAY_END(2) -> endCycle(2) }
  :: d_step { !promoted && !synced && !dirtySession[1] -> member[2] = member[1]; key[2] = key[1]; synced = 1 }
  :: d_step { !promoted -> promoted = 1 }
#endif
  // A key comes to its end when Redis' clock says so, whatever that shows.
#if !defined(PROMPT)
  :: atomic { key[1] && !dirtyEdge[1] && MAY_EXPIRE -> key[1] = 0; dirtyEdge[1] = 1; synced = 0 }
#endif
#if FLUSHES
  :: atomic { flushes < FLUSHES && CAN_PUSH(1) -> flushes++; member[1] = 0; key[1] = 0; ended = 1;
#ifdef MUTANT_FLUSH_EMPTIES_VIEW
       if :: o_push == 1 -> toOrigin ! FLUSH :: else fi;
#endif
       if :: TELL_EDGE && e_push == 1 -> toEdge ! FLUSH :: else fi
     }
#endif
  // Another program logs out: nobody waits, but it takes effect.
#ifdef OTHERS
  :: atomic { member[1] && !promoted && o_logout == NONE && gone == 0 ->
       member[1] = 0; dirtySession[1] = 1; synced = 0; ended = 1; gone = 1
     }
#endif

  // ---- the edge: connections
  :: atomic { e_push == 0 && !e_dead ->
       e_push = 1;
       if :: FAILOVERS && promoted -> e_push = 2 :: true fi;
#ifndef MUTANT_STALE_VERIFICATION
       e_oldRecheck = IDLE;
#else
       e_oldRecheck = e_recheck;
#endif
#ifndef MUTANT_DATA_ELSEWHERE
       if :: e_data != e_push && e_question -> e_question = IDLE; e_stale = 0 :: else fi;
       e_data = e_push;
#endif
       e_state = VERIFYING; e_recheck = IDLE; e_hears = 0;
#ifdef OTHERS
       if :: e_tracks = 1 :: e_tracks = 0 fi;
#endif
       if :: e_beat -> e_beat = IDLE :: else fi;
#ifdef MUTANT_NOT_VERIFIED
       write();
#endif
       // Asked by the loops, after they have let go of what they remember.
#ifndef MUTANT_MEMORY_SURVIVES_LOSS
       e_remembers = 0; e_stale = (e_question != IDLE); e_forget = 0;
#endif
       if :: e_stream -> e_recheck = SENT :: else -> e_recheck = YES fi
     }
#if LOSSES
  :: atomic { e_push && losses < LOSSES -> losses++; loseEdge() }
#endif
#if FAILOVERS
  :: atomic { e_push && promoted && e_push == 1 && moves < MOVES -> moves++; loseEdge() }
  :: d_step { moves < MOVES && promoted && e_client == 1 -> moves++; e_client = 2; if :: e_beat -> e_beat = NO :: else fi }
  :: d_step { moves < MOVES && promoted && e_client == 2 -> moves++; e_client = 1; if :: e_beat -> e_beat = NO :: else fi }
#endif
#ifdef SILENT
  :: d_step { !e_dead && e_state == RESTING && E_QUIET -> e_dead = 1; e_owed = 0 }
  :: toEdge ?? [FENCE] && e_dead -> toEdge ? _
  :: e_dead && nempty(toEdge) -> toEdge ? _
#endif

  // ---- the edge: what is open is asked for again
  :: atomic { !e_dead && e_recheck == SENT -> if :: member[e_data] -> e_recheck = YES :: else -> e_recheck = NO fi }
#ifdef MUTANT_STALE_VERIFICATION
  :: atomic { e_oldRecheck == SENT -> if :: member[e_data] -> e_oldRecheck = YES :: else -> e_oldRecheck = NO fi }
  :: atomic { e_state == VERIFYING && e_oldRecheck >= YES ->
       if :: e_oldRecheck == NO -> refuse(); e_stream = 0 :: else fi; e_oldRecheck = IDLE; write() }
#endif
  :: atomic { !e_dead && e_recheck >= YES ->
       if :: e_recheck == NO -> refuse(); e_stream = 0 :: else fi;
       e_recheck = IDLE;
       if :: e_state == VERIFYING -> write() :: else fi
     }

  // ---- the edge: rounds
#ifndef MUTANT_LEASE_FROM_RENEWAL
  :: d_step { !e_dead && e_state == RESTING && e_ping == IDLE && e_beat == IDLE -> e_state = PINGING; e_ping = SENT; e_pinged = 0 }
#else
  :: d_step { !e_dead && e_state == RESTING && e_ping == IDLE && e_beat == IDLE -> e_state = PINGING; e_ping = SENT }
#endif
  :: atomic { e_ping == SENT && e_push && ROOM(toEdge) -> e_ping = DONE; toEdge ! PONG }
#ifdef MUTANT_NEITHER_PONG_NOR_BEAT
  :: d_step { e_state == PINGING && e_ping == DONE -> e_ping = IDLE; e_state = RENEWING; e_beat = SENT; NEXT_NUMBER; e_heard = 0 }
#endif
  :: atomic { !e_dead && e_beat == SENT && CAN_PUSH(e_client) && IS_PRIMARY(e_client) ->
       if
       :: e_state == WRITING -> key[e_client] = 1
       :: e_state == RENEWING && key[e_client] -> skip
       :: else -> goto notThere
       fi;
       dirtyEdge[e_client] = 1;
       if :: e_client == 1 && !promoted -> synced = 0 :: else fi;
       if :: e_push == e_client -> toEdge ! BEAT :: else fi;
       e_beat = DONE;
       goto executed;
notThere:
       e_beat = NO;
executed: skip
     }
  // The answer leaves after the cycle's invalidations; without enough replicas it is none.
  :: atomic { !e_dead && e_beat == DONE && !dirtyEdge[e_client] && REPLICATED(e_client) ->
       e_beat = IDLE;
       if
       :: e_state == WRITING ->
#ifdef MUTANT_NO_SECOND_PING
          hold()
#else
          e_state = CONFIRMING; e_ping = SENT
#endif
       :: e_state == RENEWING ->
#ifdef MUTANT_LEASE_FROM_RENEWAL
          e_pinged = 0;
#endif
          renewed()
       :: else
       fi
     }
  // It was not there: a flush, a failover, a gateway that was silent for too long.
  :: atomic { !e_dead && e_beat == NO && e_state == RENEWING ->
       e_beat = IDLE;
#ifdef MUTANT_MISSING_BEAT_IGNORED
       hold()
#else
       e_lease = 0; e_hears = 0; e_forget = FORGETS;
       write()
#endif
     }
  // Not answered, or not replicated: the lease runs on.
  :: d_step { !e_dead && (e_beat == DONE || e_beat == NO) && e_state == WRITING && FAILOVERS -> write() }
#if FAILOVERS
  :: d_step { e_beat == DONE && e_state == RENEWING -> e_beat = IDLE; e_state = RESTING }
#endif

  // ---- the edge: what it hears
#ifdef MUTANT_APPLIED_LATER
#define MAY_HEAR_PONG true
#else
#define MAY_HEAR_PONG E_QUIET
#endif
  :: atomic { !e_dead && toEdge ? [FENCE] -> toEdge ? FENCE; e_fence = 1; e_owed = (o_logout != ANSWERED) }
#ifdef LATER
  :: atomic { !e_dead && toEdge ? [NEXT] && !e_fence -> toEdge ? NEXT; e_owed = (o_logout != ANSWERED) }
#endif
  :: atomic { !e_dead && toEdge ? [SESSION] -> toEdge ? SESSION; e_forget = 1 }
  :: atomic { !e_dead && toEdge ? [EDGE] -> toEdge ? EDGE;
#if !defined(MUTANT_TRACKING_NOT_PROVEN)
       if :: e_state >= WRITING -> e_hears = 1 :: else fi
#endif
     }
  :: atomic { !e_dead && toEdge ? [FLUSH] -> toEdge ? FLUSH; e_forget = 1 }
  :: atomic { !e_dead && toEdge ? [BEAT] && E_QUIET -> toEdge ? BEAT; e_heard = 1 }
#if FAILOVERS
  :: d_step { !e_dead && toEdge ? [OLD_BEAT] -> toEdge ? OLD_BEAT }
#endif
  :: atomic { !e_dead && toEdge ? [PONG] && MAY_HEAR_PONG -> toEdge ? PONG;
       e_ping = IDLE;
       if
       :: e_state == PINGING -> e_state = RENEWING; e_beat = SENT; NEXT_NUMBER; e_heard = 0
       :: e_state == CONFIRMING ->
#if !defined(MUTANT_BEAT_NOT_HEARD) && !defined(MUTANT_NEITHER_PONG_NOR_BEAT)
          if :: e_heard -> hold() :: else -> loseEdge() fi
#else
          hold()
#endif
       :: else
       fi
     }
  // The loops.
  :: atomic { e_fence -> e_fence = 0; if :: e_stream -> refuse() :: else fi; e_stream = 0; e_remembers = 0; e_stale = (e_question != IDLE) }
#ifdef MUTANT_NO_VERSION
  :: d_step { e_forget -> e_forget = 0; e_remembers = 0 }
#else
  :: d_step { e_forget -> e_forget = 0; e_remembers = 0; e_stale = (e_question != IDLE) }
#endif
  // It confirms.
#ifdef MUTANT_ACKNOWLEDGED_BEFORE_APPLIED
#define MAY_ACKNOWLEDGE (e_state >= WRITING)
#elif defined(MUTANT_ACKNOWLEDGED_WHILE_VERIFYING)
#define MAY_ACKNOWLEDGE (!e_fence && e_state >= VERIFYING)
#else
#define MAY_ACKNOWLEDGE (!e_fence && e_state >= WRITING)
#endif
  :: atomic { !e_dead && e_owed && MAY_ACKNOWLEDGE && ROOM(toOrigin) -> e_owed = 0; if :: o_push == e_client -> toOrigin ! ACK :: else fi }

  // ---- the edge: requests
#ifdef MUTANT_LEASE_NOT_CHECKED
#define FRESH true
#else
#define FRESH (e_lease > 0)
#endif
#ifdef MUTANT_TRACKING_NOT_PROVEN
#define REMEMBERS (e_state >= WRITING)
#else
#define REMEMBERS e_hears
#endif
#ifdef REQUESTS
  :: d_step { e_question == IDLE && (FAILOVERS || o_logout != ANSWERED) -> e_question = SENT; JUST_ASKED }
  :: atomic { e_question == SENT -> if :: member[e_data] -> e_question = YES :: else -> refuse(); e_question = IDLE; e_stale = 0 fi }
  :: atomic { e_question == YES ->
       if
       :: e_stale -> e_question = SENT; e_stale = 0; JUST_ASKED
#ifdef MUTANT_FAULT_IS_A_LOGOUT
       :: !e_stale && !FRESH -> e_question = IDLE; e_stale = 0; refuse()
#else
       :: !e_stale && !FRESH -> e_question = IDLE; e_stale = 0
#endif
       :: !e_stale && FRESH -> e_question = IDLE; e_stale = 0; forward(); e_remembers = 1
       fi
     }
  :: atomic { e_remembers && FRESH && REMEMBERS -> forward();
#ifdef WITNESS_REMEMBERED
       assert(!ended)
#endif
     }
#endif
  :: atomic { !e_dead && e_stream && FRESH && o_logout == ANSWERED -> forward() }
  // What is open ends with the lease, when the edge gets round to it.
  :: d_step { e_stream && e_lease == 0 && e_state != VERIFYING -> e_stream = 0 }

#ifndef OTHERS
  // ---- the origin: its view of the fleet
  :: atomic { o_push == 0 && o_logout != ANSWERED -> o_push = 1;
       if :: FAILOVERS && promoted -> o_push = 2; if :: o_logout == NONE -> o_client = 2 :: true fi :: true fi;
       o_age = 0; o_list = SENT }
#if ORIGIN_LOSSES
  :: atomic { o_push && originLosses < ORIGIN_LOSSES -> originLosses++; loseOrigin() }
#endif
#if FAILOVERS
  :: atomic { moves < MOVES && promoted && o_client == 1 && o_logout <= WRITTEN -> moves++; o_client = 2; o_list = (o_list -> SENT : IDLE) ; if :: o_logout == WRITTEN -> break :: else fi }
  :: atomic { o_push == 1 && promoted && moves < MOVES -> moves++; loseOrigin() }
#endif
  :: d_step { o_list == SENT -> if :: key[o_client] -> o_list = YES :: else -> o_list = NO fi }
  :: atomic { o_list >= YES -> if :: o_list == YES -> heardEdge() :: else fi; o_list = IDLE; o_listed = 1 }
  :: atomic { toOrigin ? [EDGE] -> toOrigin ? EDGE; heardEdge() }
#ifdef MUTANT_FLUSH_EMPTIES_VIEW
  :: atomic { toOrigin ? [FLUSH] -> toOrigin ? FLUSH; o_view = 0; o_seen = 0 }
#endif

  // ---- the origin: the logout
  :: atomic { o_logout == NONE && !dirtySession[o_client] && MAY_BEGIN ->
       member[o_client] = 0; dirtySession[o_client] = 1; ended = 1;
       if :: o_client == 1 && !promoted -> synced = 0 :: else fi;
       o_logout = WRITTEN
     }
#if !defined(PROMPT) && !defined(SILENT)
  // Nothing is promised then.
  :: o_logout == WRITTEN -> break
#endif
  // From here on the view is looked at: whoever is in it now, or will be before it is decided.
  :: atomic { o_logout == WRITTEN && !dirtySession[o_client] && REPLICATED(o_client) && CAN_PUSH(o_client) ->
       o_logout = PENDING; o_seen = (o_view > 0); o_knew = (o_push && o_age == MAX_STALENESS);
       pushBoth(o_client, FENCE)
     }
#ifndef MUTANT_NOT_PUBLISHED_AGAIN
  :: atomic { (o_logout == PENDING || o_logout == DECIDED) && (!o_acked || !o_echoed) && CAN_PUSH(o_client) && !(toEdge ?? [FENCE]) && !(toOrigin ?? [FENCE]) && MAY_RESEND ->
#if defined(PROMPT) || defined(SILENT)
       o_resent = 1;
#endif
       pushBoth(o_client, FENCE) }
#endif
#ifdef LATER
  :: atomic { !o_later && (o_logout == PENDING || o_logout == DECIDED) && (e_push != o_client || ROOM(toEdge)) ->
       o_later = 1; if :: e_push == o_client -> toEdge ! NEXT :: else fi }
#endif
  :: atomic { toOrigin ? [FENCE] -> toOrigin ? FENCE; if :: o_logout == PENDING -> o_echoed = 1 :: else fi }
  :: atomic { toOrigin ? [ACK] -> toOrigin ? ACK; o_acked = 1; o_wait = 0 }
#ifdef MUTANT_NO_ECHO
#define ECHOED true
#else
#define ECHOED o_echoed
#endif
#define READ (o_push && o_listed)
#if defined(MUTANT_JOINED_KNOWS_ALL) || defined(PROMPT) || defined(SILENT)
#define KNEW true
#else
#define KNEW o_knew
#endif
#ifdef MUTANT_VIEW_OF_NOW
#define LIVES (o_view > 0 || !KNEW)
#else
#define LIVES (o_seen || !KNEW)
#endif
  :: atomic { o_logout == PENDING && ECHOED && READ ->
       o_logout = DECIDED; o_echoed = 1;
       if :: LIVES && !o_acked -> o_wait = MAX_STALENESS; NOTE_ASKED :: else -> o_wait = 0; o_acked = 1 fi;
       o_view = 0; o_seen = 0; o_knew = 0
     }
#ifdef MUTANT_NOT_WAITED_FOR
  :: atomic { o_logout == DECIDED -> o_logout = ANSWERED; originIsDone() }
#else
  :: atomic { o_logout == DECIDED && (o_acked || o_wait == 0) -> o_logout = ANSWERED;
#ifdef WITNESS_CONFIRMED
       assert(!(o_asked && o_acked));
#endif
#ifdef WITNESS_WAITED_OUT
       assert(o_acked);
#endif
#ifdef WITNESS_AFTER_FAILOVER
       assert(!(promoted && o_asked && o_acked && o_client == 2 && e_push == 2));
#endif
       originIsDone()
     }
#endif
#endif
  od
}
