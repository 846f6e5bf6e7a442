// grammY with the plugins that its documentation names for this job. With `--lean` it has
// no limiter, and sessions stay in the memory of the process: nothing is written to Redis.
import cluster from "node:cluster";
import http from "node:http";
import { promisify } from "node:util";
import { limit } from "@grammyjs/ratelimiter";
import { sequentialize } from "@grammyjs/runner";
import { RedisAdapter } from "@grammyjs/storage-redis";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { Bot, session, webhookCallback } from "grammy";
import { Redis } from "ioredis";

const { BOT_API, PORT, PROTO, RATE_LIMIT_REQUESTS, REDIS_URL, SECRET, SERVICES, TOKEN, WORKERS } =
  process.env;
const SESSION_SECONDS = 86_400;
const LEAN = process.argv.includes("--lean");

function services() {
  const names = ["conversation/v1/conversation_service", "profile/v1/profile_service"];
  const definition = loader.loadSync(
    names.map((name) => `botgateway/${name}.proto`),
    { includeDirs: [PROTO], longs: Number, enums: String, defaults: true },
  );
  const { conversation, profile } = grpc.loadPackageDefinition(definition).botgateway;
  const plain = grpc.credentials.createInsecure();
  const talks = new conversation.v1.ConversationService(SERVICES, plain);
  const profiles = new profile.v1.ProfileService(SERVICES, plain);
  return {
    sendMessage: promisify(talks.sendMessage.bind(talks)),
    resolveUser: promisify(profiles.resolveUser.bind(profiles)),
  };
}

async function serve() {
  const { sendMessage, resolveUser } = services();
  const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });
  const bot = new Bot(TOKEN, { client: { apiRoot: BOT_API } });
  bot.use(sequentialize((ctx) => ctx.from?.id.toString()));
  const initial = () => ({ internalUserId: "", messages: 0 });
  if (LEAN) {
    bot.use(session({ initial }));
  } else {
    const redis = new Redis(REDIS_URL);
    const timeFrame = 1000;
    bot.use(limit({ timeFrame, limit: Number(RATE_LIMIT_REQUESTS), storageClient: redis }));
    const storage = new RedisAdapter({ instance: redis, ttl: SESSION_SECONDS });
    bot.use(session({ initial, storage }));
  }
  bot.on("message:text", async (ctx) => {
    const start = performance.now();
    const context = {
      requestId: `7-${ctx.update.update_id}`,
      updateId: ctx.update.update_id,
      telegramUserId: ctx.from.id,
      internalUserId: ctx.session.internalUserId,
      chatId: ctx.chat.id,
      chatType: "CHAT_TYPE_PRIVATE",
      languageCode: ctx.from.language_code,
      username: ctx.from.username,
      firstName: ctx.from.first_name,
      sendTime: { seconds: ctx.message.date },
    };
    if (!context.internalUserId) {
      const resolved = await resolveUser({ context }, within(3));
      context.internalUserId = ctx.session.internalUserId = resolved.internalUserId;
    }
    const message = { messageId: ctx.message.message_id, text: ctx.message.text };
    const { reply } = await sendMessage({ context, message }, within(10));
    for (const answer of reply.messages) {
      await ctx.reply(answer.text);
    }
    ctx.session.messages += 1;
    console.log(
      `${new Date().toISOString()} INFO bot update ${ctx.update.update_id} of user ` +
        `${ctx.from.id} done in ${(performance.now() - start).toFixed(1)} ms`,
    );
  });
  await bot.init();
  http.createServer(webhookCallback(bot, "http", { secretToken: SECRET }))
    .listen(Number(PORT), "127.0.0.1");
}

if (cluster.isPrimary && Number(WORKERS) > 1) {
  for (let worker = 0; worker < Number(WORKERS); worker += 1) {
    cluster.fork();
  }
} else {
  await serve();
}
