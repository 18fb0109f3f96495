/** Where people work: how good their network is, and how often what goes wrong. Weights are of 1,000 steps or so;
 * what is about views counts only in worlds that have them. */
import type { Quality } from './network-line.ts'

export const acts = [
  'edit',
  'burst',
  'wait',
  'offline',
  'online',
  'cut',
  'answer',
  'ghost',
  'freeze',
  'reload',
  'repeat',
  'join',
  'kill',
  'kill-promised',
  'kill-store',
  'isolate',
  'pause',
  'move',
  'rebuild',
  'upgrade',
] as const
export type Act = (typeof acts)[number]

export interface Profile {
  readonly quality: Quality
  readonly weights: Readonly<Record<Act, number>>
  readonly stepsMax: number
}

const none = Object.fromEntries(acts.map((act) => [act, 0])) as Record<Act, number>

export const profiles = {
  /** A good network; people work beside each other. */
  office: {
    quality: { delayMs: 1, jitterMs: 2, bytesPerSecond: 0 },
    weights: {
      ...none,
      edit: 600,
      burst: 100,
      wait: 150,
      offline: 10,
      online: 30,
      cut: 20,
      answer: 10,
      reload: 10,
      repeat: 10,
      join: 30,
      kill: 4,
      'kill-store': 3,
      rebuild: 6,
      isolate: 3,
      pause: 2,
      move: 8,
      upgrade: 3,
    },
    stepsMax: 120,
  },
  /** Trains and tunnels: short connections, long times without. */
  mobile: {
    quality: { delayMs: 40, jitterMs: 60, bytesPerSecond: 400_000 },
    weights: {
      ...none,
      edit: 500,
      burst: 50,
      wait: 100,
      offline: 60,
      online: 120,
      cut: 50,
      answer: 30,
      ghost: 30,
      freeze: 20,
      reload: 20,
      repeat: 10,
      join: 20,
      kill: 4,
      'kill-store': 3,
      rebuild: 4,
      isolate: 3,
      pause: 2,
      move: 20,
      upgrade: 0,
    },
    stepsMax: 80,
  },
  /** Half a second there and back, and little room. */
  satellite: {
    quality: { delayMs: 270, jitterMs: 60, bytesPerSecond: 64_000 },
    weights: {
      ...none,
      edit: 600,
      burst: 60,
      wait: 100,
      offline: 20,
      online: 60,
      cut: 20,
      answer: 20,
      ghost: 20,
      freeze: 20,
      reload: 10,
      repeat: 10,
      join: 10,
      kill: 3,
      'kill-store': 2,
      rebuild: 4,
      isolate: 3,
      pause: 2,
      move: 8,
      upgrade: 0,
    },
    stepsMax: 60,
  },
  /** Everything breaks all the time, servers too. */
  hostile: {
    quality: { delayMs: 1, jitterMs: 8, bytesPerSecond: 0 },
    weights: {
      ...none,
      edit: 450,
      burst: 80,
      wait: 60,
      offline: 30,
      online: 80,
      cut: 50,
      answer: 60,
      ghost: 60,
      freeze: 25,
      reload: 25,
      repeat: 30,
      join: 40,
      kill: 12,
      'kill-promised': 30,
      'kill-store': 12,
      rebuild: 10,
      isolate: 15,
      pause: 10,
      move: 20,
      upgrade: 8,
    },
    stepsMax: 90,
  },
} as const satisfies Record<string, Profile>

export type ProfileName = keyof typeof profiles
export const profileNames = Object.keys(profiles) as ProfileName[]
